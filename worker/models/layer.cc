#include "worker/models/layer.h"

#include <cmath>

namespace leeway {
namespace {

v1::TensorSpec UniformTensor(const char* name, const std::vector<std::int64_t>& shape, std::int64_t fan_in) {
  const float bound = 1.0f / std::sqrt(static_cast<float>(fan_in));
  v1::TensorSpec spec;
  spec.set_name(name);
  spec.set_group(name);
  spec.mutable_shape()->Assign(shape.begin(), shape.end());
  spec.mutable_initializer()->set_kind(v1::Initializer::UNIFORM);
  spec.mutable_initializer()->set_a(-bound);
  spec.mutable_initializer()->set_b(bound);
  return spec;
}

}  // namespace

v1::TensorSpec WeightTensor(const std::vector<std::int64_t>& shape, std::int64_t fan_in) {
  return UniformTensor("weight", shape, fan_in);
}

v1::TensorSpec BiasTensor(std::int64_t count, std::int64_t fan_in) { return UniformTensor("bias", {count}, fan_in); }

}  // namespace leeway
