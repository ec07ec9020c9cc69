#include "worker/models/model_name.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::int64_t kMaxHidden = 1 << 20;

absl::StatusOr<ModelName> ParseMlp(const std::string& name, const std::string& sizes) {
  ModelName model{ModelName::kMlp, {}, {}};
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(sizes, ','))) {
    std::int64_t size = 0;
    if (!absl::SimpleAtoi(word, &size) || size < 1 || size > kMaxHidden) {
      return absl::InvalidArgumentError(absl::StrCat("--model=", name, ": hidden size '", word,
                                                     "'; allowed are numbers from 1 to ", kMaxHidden,
                                                     ", as in mlp:512,256"));
    }
    model.hidden.push_back(size);
  }
  return model;
}

}  // namespace

absl::StatusOr<ModelName> ParseModelName(const std::string& name) {
  if (name == "softmax") return ModelName{ModelName::kSoftmax, {}, {}};
  if (name == "cnn") return ModelName{ModelName::kCnn, {}, {}};
  if (name == "mlp") return ModelName{ModelName::kMlp, {1024, 1024}, {}};
  const std::size_t colon = name.find(':');
  if (colon != std::string::npos && name.substr(0, colon) == "mlp") return ParseMlp(name, name.substr(colon + 1));
  if (name.substr(0, colon) == "gpt") {
    ASSIGN_OR_RETURN(const GptConfig config, ParseGptSizes(colon == std::string::npos ? "1m" : name.substr(colon + 1)));
    return ModelName{ModelName::kGpt, {}, config};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--model=", name, ": allowed are ", absl::StrJoin(ModelNames(), ", ")));
}

std::vector<std::string> ModelNames() { return {"softmax", "mlp[:hidden,...]", "cnn", "gpt[:sizes]"}; }

}  // namespace leeway
