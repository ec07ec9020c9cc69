#include "worker/models/gpt/gpt_tensors.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

class Builder {
 public:
  explicit Builder(v1::Manifest* manifest) : manifest_(manifest) {}

  void Matrix(const std::string& name, std::int64_t rows, std::int64_t columns, float deviation) {
    v1::TensorSpec& spec = Add(name, {rows, columns}, "weight");
    spec.mutable_initializer()->set_kind(v1::Initializer::NORMAL);
    spec.mutable_initializer()->set_b(deviation);
  }
  void Bias(const std::string& name, std::int64_t count) { Add(name, {count}, "bias"); }  // zeros
  void Norm(const std::string& name, std::int64_t width) {
    v1::TensorSpec& gain = Add(name + ".weight", {width}, "bias");
    gain.mutable_initializer()->set_kind(v1::Initializer::CONSTANT);
    gain.mutable_initializer()->set_a(1);
    Bias(name + ".bias", width);
  }
  void Linear(const std::string& name, std::int64_t out, std::int64_t in, float deviation) {
    Matrix(name + ".weight", out, in, deviation);
    Bias(name + ".bias", out);
  }

 private:
  v1::TensorSpec& Add(const std::string& name, const std::vector<std::int64_t>& shape, const char* group) {
    v1::TensorSpec& spec = *manifest_->add_tensors();
    spec.set_name(name);
    spec.set_group(group);
    spec.mutable_shape()->Assign(shape.begin(), shape.end());
    return spec;
  }

  v1::Manifest* manifest_;
};

}  // namespace

v1::Manifest GptManifest(const std::string& name, const GptConfig& config) {
  constexpr float kDeviation = 0.02f;
  const std::int64_t width = config.width;
  // Each layer adds two branches to the residual stream; this keeps its variance from growing with their number.
  const float into_stream = kDeviation / std::sqrt(2.0f * static_cast<float>(config.layers));
  v1::Manifest manifest;
  manifest.set_model(name);
  Builder builder(&manifest);
  builder.Matrix("wte.weight", config.padded_vocabulary(), width, kDeviation);
  builder.Matrix("wpe.weight", config.context, width, kDeviation);
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = absl::StrCat("h.", layer, ".");
    builder.Norm(prefix + "ln_1", width);
    builder.Linear(prefix + "attn.c_attn", 3 * width, width, kDeviation);
    builder.Linear(prefix + "attn.c_proj", width, width, into_stream);
    builder.Norm(prefix + "ln_2", width);
    builder.Linear(prefix + "mlp.c_fc", 4 * width, width, kDeviation);
    builder.Linear(prefix + "mlp.c_proj", width, 4 * width, into_stream);
  }
  builder.Norm("ln_f", width);
  return manifest;
}

}  // namespace leeway
