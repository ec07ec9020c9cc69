#include "worker/data/load.h"

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/csv.h"
#include "worker/data/idx.h"
#include "worker/data/input_file.h"
#include "worker/data/libsvm.h"
#include "worker/data/synthetic.h"

namespace leeway {
namespace {

constexpr std::uint64_t kSyntheticSeed = 20131119;
constexpr std::uint64_t kSyntheticTestShare = 6;  // a test record for 6 training records, as in MNIST

// What a spec says: a kind, and what follows its colon.
struct Source {
  enum Kind { kImages, kCsv, kLibsvm, kSynthetic, kTokens } kind = kImages;
  std::string rest;
};

absl::StatusOr<Source> ParseSpec(const std::string& spec) {
  constexpr char kAllowed[] =
      "allowed are a directory, idx:DIR, csv:TRAIN[,TEST], libsvm:TRAIN[,TEST], synthetic:RECORDS, "
      "tokens:FILE[,TEST]";
  if (spec.empty()) return absl::InvalidArgumentError(absl::StrCat("data '': ", kAllowed));
  const std::size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  if (colon == std::string::npos || absl::StrContains(kind, "/")) return Source{Source::kImages, spec};
  const std::string rest = spec.substr(colon + 1);
  constexpr std::pair<const char*, Source::Kind> kKinds[] = {{"idx", Source::kImages},
                                                             {"csv", Source::kCsv},
                                                             {"libsvm", Source::kLibsvm},
                                                             {"synthetic", Source::kSynthetic},
                                                             {"tokens", Source::kTokens}};
  for (const auto& [name, value] : kKinds) {
    if (kind != name) continue;
    if (!rest.empty()) return Source{value, rest};
    return absl::InvalidArgumentError(absl::StrCat("data '", spec, "': nothing stands behind the colon; ", kAllowed));
  }
  return absl::InvalidArgumentError(absl::StrCat("data '", spec, "': the kind '", kind, "' is unknown; ", kAllowed));
}

// Of "TRAIN[,TEST]": the training file, and for a test split the test file too.
absl::StatusOr<std::vector<std::string>> TextFiles(const std::string& spec, const std::string& files, Split split) {
  const std::size_t comma = files.find(',');
  const std::string train = files.substr(0, comma);
  if (split == Split::kTrain) return std::vector<std::string>{train};
  if (comma == std::string::npos || comma + 1 == files.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("data '", spec, "': no test file is named; say ", train, ",TESTFILE"));
  }
  return std::vector<std::string>{train, files.substr(comma + 1)};
}

// Of "FILE[,TEST]": the files that the split is read from, as LoadTokens takes them.
struct TokenFiles {
  std::string path, test_path;
  const std::string& For(Split split) const { return split == Split::kTest && !test_path.empty() ? test_path : path; }
};

absl::StatusOr<TokenFiles> ParseTokenFiles(const std::string& files) {
  const auto refused = [&files](const char* why) {
    return absl::InvalidArgumentError(absl::StrCat("data 'tokens:", files, "': ", why));
  };
  const std::size_t comma = files.find(',');
  TokenFiles parsed{files.substr(0, comma), comma == std::string::npos ? "" : files.substr(comma + 1)};
  if (comma != std::string::npos && parsed.test_path.empty()) return refused("no test file behind the comma");
  if (absl::EndsWith(parsed.path, ".bin.gz") || absl::EndsWith(parsed.test_path, ".bin.gz")) {
    return refused("tokens are read from an unpacked .bin");
  }
  if (!parsed.test_path.empty() && absl::EndsWith(parsed.path, ".bin") != absl::EndsWith(parsed.test_path, ".bin")) {
    return refused("bytes and tokens do not go together: both files end in .bin, or neither");
  }
  return parsed;
}

using TextReader = std::function<absl::StatusOr<Dataset>(const std::string&, const TextOptions&)>;

absl::StatusOr<Dataset> LoadText(const std::vector<std::string>& files, const TextReader& read) {
  ASSIGN_OR_RETURN(Dataset training, read(files[0], {}));
  if (files.size() == 1) return training;
  TextOptions options;
  options.num_features = static_cast<std::uint32_t>(training.features_per_record());
  options.num_classes = training.num_classes();
  return read(files[1], options);
}

absl::StatusOr<std::uint64_t> SyntheticRecords(const std::string& spec, const std::string& count, Split split) {
  std::uint64_t records = 0;
  if (!absl::SimpleAtoi(count, &records)) {
    return absl::InvalidArgumentError(absl::StrCat("data '", spec, "': '", count, "' is not a number of records"));
  }
  RETURN_IF_ERROR(CheckSyntheticRecords(records));
  return split == Split::kTrain ? records : (records - 1) / kSyntheticTestShare + 1;
}

}  // namespace

absl::Status CheckDataset(const std::string& spec, Split split) {
  ASSIGN_OR_RETURN(const Source source, ParseSpec(spec));
  if (source.kind == Source::kImages) return CheckImageDirectory(source.rest, split);
  if (source.kind == Source::kSynthetic) return SyntheticRecords(spec, source.rest, split).status();
  if (source.kind == Source::kTokens) {
    ASSIGN_OR_RETURN(const TokenFiles files, ParseTokenFiles(source.rest));
    return InputFile::Open(files.For(split)).status();
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> files, TextFiles(spec, source.rest, split));
  for (const std::string& file : files) RETURN_IF_ERROR(InputFile::Open(file).status());
  return absl::OkStatus();
}

absl::StatusOr<Dataset> LoadDataset(const std::string& spec, Split split, const TokenOptions& tokens) {
  ASSIGN_OR_RETURN(const Source source, ParseSpec(spec));
  if (source.kind == Source::kTokens) {
    ASSIGN_OR_RETURN(const TokenFiles files, ParseTokenFiles(source.rest));
    return LoadTokens(files.path, files.test_path, split, tokens);
  }
  if (source.kind == Source::kImages) return LoadImageDirectory(source.rest, split);
  if (source.kind == Source::kSynthetic) {
    ASSIGN_OR_RETURN(const std::uint64_t records, SyntheticRecords(spec, source.rest, split));
    return MakeSynthetic(records, kSyntheticSeed, split);
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> files, TextFiles(spec, source.rest, split));
  return LoadText(files, source.kind == Source::kCsv ? TextReader(LoadCsv) : TextReader(LoadLibsvm));
}

}  // namespace leeway
