// What the fuzz targets of the text readers (CSV, LibSVM) share.
//
// Thread safety: as an int.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "tests/fuzz/check_dataset.h"
#include "tests/fuzz/memory_file.h"
#include "worker/data/text.h"

namespace leeway {

// Input: a byte whose bits 0 and 1 say that the number of features, of classes is given; those two numbers, a byte
// each; the text. `read` reads a file, `write` writes feature `index` (0, 1, ...) of a record.
//
// What was read and is written again is read as the same.
template <typename Read, typename Write>
void FuzzTextReader(FuzzInput input, const Read& read, const Write& write) {
  TextOptions options;
  options.max_values = 1 << 12;  // a few sparse lines can ask for any amount of memory, and this often
  const std::uint8_t given = input.Byte();
  const std::uint8_t features = input.Byte();
  const std::uint8_t classes = input.Byte();
  if ((given & 1) != 0 && features > 0) options.num_features = features;
  if ((given & 2) != 0) options.num_classes = classes;
  const MemoryFile file(input.Rest());
  const absl::StatusOr<Dataset> data = read(file.path(), options);
  if (!data.ok()) return CheckRefusal(data.status());
  const Records records = CheckRecords(*data);
  const std::uint64_t width = data->features_per_record();
  FUZZ_CHECK(records.features.size() <= options.max_values);
  FUZZ_CHECK(!options.num_features || width == *options.num_features);
  FUZZ_CHECK(!options.num_classes || data->num_classes() == *options.num_classes);
  std::string text;
  for (std::size_t record = 0; record < records.labels.size(); ++record) {
    absl::StrAppend(&text, records.labels[record]);
    for (std::uint64_t i = 0; i < width; ++i) write(&text, i, records.features[record * width + i]);
    text += '\n';
  }
  options.num_classes = data->num_classes();
  const MemoryFile again(text);
  const absl::StatusOr<Dataset> same = read(again.path(), options);
  FUZZ_CHECK(same.ok());
  FUZZ_CHECK(same->fingerprint() == data->fingerprint());
}

}  // namespace leeway
