#include "worker/data_for_model.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/load.h"

namespace leeway {

absl::StatusOr<Dataset> LoadDataFor(const std::string& model, const std::string& data, Split split) {
  ASSIGN_OR_RETURN(const ModelName name, ParseModelName(model));
  TokenOptions tokens;
  if (name.family == ModelName::kGpt) {
    tokens.context = static_cast<std::uint32_t>(name.gpt.context);
    tokens.vocabulary = static_cast<std::uint32_t>(name.gpt.vocabulary);
  }
  return LoadDataset(data, split, tokens);
}

absl::Status CheckModelTakes(const std::string& model, const std::string& data) {
  ASSIGN_OR_RETURN(const ModelName name, ParseModelName(model));
  const bool tokens = absl::StartsWith(data, "tokens:");
  if (tokens == (name.family == ModelName::kGpt)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--model=", model, " and --data=", data,
                   tokens ? ": tokens are for --model=gpt" : ": a model of tokens takes --data=tokens:FILE"));
}

ModelSpec ModelSpecFor(const std::string& model, const Dataset& data) {
  ModelSpec spec;
  spec.name = model;
  spec.channels = data.shape().channels;
  spec.height = data.shape().height;
  spec.width = data.shape().width;
  spec.classes = data.num_classes();
  spec.tokens = data.has_tokens();
  return spec;
}

}  // namespace leeway
