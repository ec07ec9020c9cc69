#include "worker/data/load.h"

#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/csv.h"
#include "worker/data/idx.h"
#include "worker/data/libsvm.h"
#include "worker/data/synthetic.h"

namespace leeway {
namespace {

constexpr std::uint64_t kSyntheticSeed = 20131119;
constexpr std::uint64_t kSyntheticTestShare = 6;  // a test record for 6 training records, as in MNIST

using TextReader = std::function<absl::StatusOr<Dataset>(const std::string&, const TextOptions&)>;

// `files` is TRAIN[,TEST].
absl::StatusOr<Dataset> LoadText(const std::string& spec, const std::string& files, Split split,
                                 const TextReader& read) {
  const std::size_t comma = files.find(',');
  ASSIGN_OR_RETURN(Dataset training, read(files.substr(0, comma), {}));
  if (split == Split::kTrain) return training;
  if (comma == std::string::npos || comma + 1 == files.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("data '", spec, "': no test file is named; say ", files.substr(0, comma), ",TESTFILE"));
  }
  TextOptions options;
  options.num_features = static_cast<std::uint32_t>(training.features_per_record());
  options.num_classes = training.num_classes();
  return read(files.substr(comma + 1), options);
}

absl::StatusOr<Dataset> LoadSynthetic(const std::string& spec, const std::string& count, Split split) {
  std::uint64_t records = 0;
  if (!absl::SimpleAtoi(count, &records)) {
    return absl::InvalidArgumentError(absl::StrCat("data '", spec, "': '", count, "' is not a number of records"));
  }
  if (split == Split::kTest && records > 0) records = (records - 1) / kSyntheticTestShare + 1;
  return MakeSynthetic(records, kSyntheticSeed, split);
}

}  // namespace

absl::StatusOr<Dataset> LoadDataset(const std::string& spec, Split split) {
  const std::size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  if (colon == std::string::npos || absl::StrContains(kind, "/")) {
    if (spec.empty()) {
      return absl::InvalidArgumentError(
          "data '': allowed are a directory, idx:DIR, csv:TRAIN[,TEST], libsvm:TRAIN[,TEST], synthetic:RECORDS");
    }
    return LoadImageDirectory(spec, split);
  }
  const std::string rest = spec.substr(colon + 1);
  if (kind == "idx") return LoadImageDirectory(rest, split);
  if (kind == "csv") return LoadText(spec, rest, split, LoadCsv);
  if (kind == "libsvm") return LoadText(spec, rest, split, LoadLibsvm);
  if (kind == "synthetic") return LoadSynthetic(spec, rest, split);
  return absl::InvalidArgumentError(absl::StrCat("data '", spec, "': the kind '", kind,
                                                 "' is unknown; allowed are a directory, idx:DIR, csv:TRAIN[,TEST], "
                                                 "libsvm:TRAIN[,TEST], synthetic:RECORDS"));
}

}  // namespace leeway
