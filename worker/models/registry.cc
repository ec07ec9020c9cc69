#include "worker/models/registry.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/models/conv.h"
#include "worker/models/gpt/gpt.h"
#include "worker/models/linear.h"
#include "worker/models/model_name.h"
#include "worker/models/pool.h"
#include "worker/models/sequential.h"

namespace leeway {
namespace {

using ModelOr = absl::StatusOr<std::unique_ptr<Model>>;

constexpr std::int64_t kMaxDimension = 1 << 20;
constexpr std::int64_t kMaxSample = 1 << 24;

ModelOr MakeSoftmax(const ModelSpec& spec, const Shape& input) {
  Sequential::Builder builder(spec.name, input);
  builder.Add("fc", MakeLinear(builder.shape(), spec.classes, Activation::kNone));
  return builder.Build();
}

ModelOr MakeMlp(const ModelSpec& spec, const Shape& input, const std::vector<std::int64_t>& hidden) {
  Sequential::Builder builder(spec.name, input);
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    builder.Add(absl::StrCat("fc", i + 1), MakeLinear(builder.shape(), hidden[i], Activation::kRelu));
  }
  builder.Add(absl::StrCat("fc", hidden.size() + 1), MakeLinear(builder.shape(), spec.classes, Activation::kNone));
  return builder.Build();
}

// conv 16, ReLU, pool, conv 32, ReLU, pool, fully connected 128, ReLU, fully connected to the classes.
ModelOr MakeCnn(const ModelSpec& spec, const Shape& input) {
  if (input.height < 4 || input.width < 4) {
    return absl::InvalidArgumentError(absl::StrCat("--model=cnn: samples of ", input.height, " x ", input.width,
                                                   " pixels; it pools twice, and needs at least 4 x 4"));
  }
  Sequential::Builder builder(spec.name, input);
  builder.Add("conv1", MakeConv3x3(builder.shape(), 16));
  builder.Add("pool1", MakeMaxPool(builder.shape(), Activation::kRelu));
  builder.Add("conv2", MakeConv3x3(builder.shape(), 32));
  builder.Add("pool2", MakeMaxPool(builder.shape(), Activation::kRelu));
  builder.Add("fc1", MakeLinear(builder.shape(), 128, Activation::kRelu));
  builder.Add("fc2", MakeLinear(builder.shape(), spec.classes, Activation::kNone));
  return builder.Build();
}

ModelOr MakeGptFor(const ModelSpec& spec, GptConfig config) {
  if (spec.width != config.context || spec.height != 1 || spec.channels != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--model=", spec.name, ": sequences of ", spec.width, " tokens; its context is ", config.context));
  }
  if (config.vocabulary == 0) config.vocabulary = spec.classes;
  if (config.vocabulary < spec.classes) {
    return absl::InvalidArgumentError(absl::StrCat("--model=", spec.name, ": vocab ", config.vocabulary,
                                                   "; the data has ", spec.classes, " different tokens"));
  }
  return MakeGpt(spec.name, config);
}

bool IsDimension(std::int64_t value) { return value >= 1 && value <= kMaxDimension; }

// Each dimension is bounded first, so that their product does not overflow.
bool IsSample(const ModelSpec& spec) {
  return IsDimension(spec.channels) && IsDimension(spec.height) && IsDimension(spec.width) &&
         spec.channels * spec.height * spec.width <= kMaxSample;
}

}  // namespace

ModelOr MakeModel(const ModelSpec& spec) {
  ASSIGN_OR_RETURN(const ModelName name, ParseModelName(spec.name));
  if (!IsSample(spec)) {
    return absl::InvalidArgumentError(absl::StrCat("model ", spec.name, ": samples of ", spec.height, " x ", spec.width,
                                                   " x ", spec.channels, "; allowed are 1 to ", kMaxSample,
                                                   " values in all"));
  }
  if (spec.classes < 2 || spec.classes > kMaxDimension) {
    return absl::InvalidArgumentError(
        absl::StrCat("model ", spec.name, ": ", spec.classes, " classes; allowed are 2 to ", kMaxDimension));
  }
  if (spec.tokens != (name.family == ModelName::kGpt)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--model=", spec.name, ": the data are ",
                     spec.tokens ? "tokens; only gpt takes them" : "no tokens; it takes --data=tokens:FILE"));
  }
  const Shape input{spec.height, spec.width, spec.channels};
  switch (name.family) {
    case ModelName::kSoftmax:
      return MakeSoftmax(spec, input);
    case ModelName::kMlp:
      return MakeMlp(spec, input, name.hidden);
    case ModelName::kGpt:
      return MakeGptFor(spec, name.gpt);
    case ModelName::kCnn:
      break;
  }
  return MakeCnn(spec, input);
}

}  // namespace leeway
