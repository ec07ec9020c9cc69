// What every reader of training data promises, whatever the bytes: a whole dataset, or one clear error.
//
// Thread safety: as an int.
#pragma once

#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "tests/fuzz/fuzz_input.h"
#include "worker/data/dataset.h"

namespace leeway {

struct Records {
  std::vector<float> features;  // one record after the other
  std::vector<std::int32_t> labels;
};

// All records, checked.
inline Records CheckRecords(const Dataset& data) {
  FUZZ_CHECK(data.num_records() > 0 && data.features_per_record() > 0 && data.fingerprint() != 0);
  std::vector<std::uint64_t> all(data.num_records());
  std::iota(all.begin(), all.end(), 0);
  Records records;
  records.features.resize(all.size() * data.features_per_record());
  records.labels.resize(all.size());
  data.Gather(all, records.features.data(), records.labels.data());
  for (const float value : records.features) FUZZ_CHECK(std::isfinite(value));
  for (const std::int32_t label : records.labels) {
    FUZZ_CHECK(label >= 0 && static_cast<std::uint32_t>(label) < data.num_classes());
  }
  return records;
}

inline void CheckRefusal(const absl::Status& status) {
  FUZZ_CHECK(absl::IsInvalidArgument(status) || absl::IsDataLoss(status));
  // It names the file, and is one line.
  FUZZ_CHECK(absl::StartsWith(status.message(), "/proc/self/fd/"));
  FUZZ_CHECK(!absl::StrContains(status.message(), "\n"));
}

}  // namespace leeway
