#include "common/manifest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/utf8.h"

namespace leeway {
namespace {

constexpr std::size_t kLongestModel = 200;
constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 40;

absl::Status CheckInitializer(const v1::TensorSpec& spec) {
  const v1::Initializer& init = spec.initializer();
  const bool finite = std::isfinite(init.a()) && std::isfinite(init.b());
  const bool uniform_ok = init.kind() != v1::Initializer::UNIFORM || init.a() < init.b();
  const bool normal_ok = init.kind() != v1::Initializer::NORMAL || init.b() > 0;
  if (v1::Initializer::Kind_IsValid(init.kind()) && finite && uniform_ok && normal_ok) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("manifest: tensor '", spec.name(), "' has an impossible initializer (",
                                                 init.ShortDebugString(), ")"));
}

}  // namespace

absl::StatusOr<Manifest> Manifest::FromProto(const v1::Manifest& proto) {
  if (proto.tensors().empty()) return absl::InvalidArgumentError("manifest: it names no tensors");
  if (proto.ByteSizeLong() > kMaxBytes) {
    return absl::InvalidArgumentError(absl::StrCat("manifest: ", proto.tensors_size(), " tensors take ",
                                                   proto.ByteSizeLong(), " bytes; at most ", kMaxBytes));
  }
  if (PrintableUtf8(proto.model(), kLongestModel) != proto.model()) {
    return absl::InvalidArgumentError(absl::StrCat("manifest: the model's name '",
                                                   PrintableUtf8(proto.model(), kLongestModel), "'; allowed are ",
                                                   kLongestModel, " bytes of printable UTF-8"));
  }
  Manifest manifest;
  manifest.model_ = proto.model();
  std::set<std::string> names;
  for (const v1::TensorSpec& spec : proto.tensors()) {
    if (spec.name().empty() || !names.insert(spec.name()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("manifest: tensor name '", spec.name(), "' is empty or used twice"));
    }
    if (absl::Status status = CheckInitializer(spec); !status.ok()) return status;
    Tensor tensor{spec.name(),        {spec.shape().begin(), spec.shape().end()},
                  spec.initializer(), spec.group(),
                  manifest.elements_, 1};
    for (std::int64_t dimension : tensor.shape) {
      // Divide first: the product of hostile dimensions must not wrap around.
      if (dimension <= 0 || static_cast<std::uint64_t>(dimension) > kMaxElements / tensor.count) {
        return absl::InvalidArgumentError(absl::StrCat("manifest: tensor '", spec.name(), "' has dimension ", dimension,
                                                       "; allowed are 1 and above, up to 2^40 elements in all"));
      }
      tensor.count *= static_cast<std::uint64_t>(dimension);
    }
    manifest.elements_ += tensor.count;
    if (manifest.elements_ > kMaxElements) {
      return absl::InvalidArgumentError(
          absl::StrCat("manifest: more than 2^40 elements at tensor '", spec.name(), "'"));
    }
    manifest.tensors_.push_back(std::move(tensor));
  }
  // Deterministic serialization of a message without maps or unknown fields is stable across builds.
  manifest.fingerprint_ = std::max<std::uint64_t>(1, HashString(manifest.ToProto().SerializeAsString()));
  return manifest;
}

v1::Manifest Manifest::ToProto() const {
  v1::Manifest proto;
  proto.set_model(model_);
  for (const Tensor& tensor : tensors_) {
    v1::TensorSpec& spec = *proto.add_tensors();
    spec.set_name(tensor.name);
    spec.mutable_shape()->Assign(tensor.shape.begin(), tensor.shape.end());
    v1::Initializer& init = *spec.mutable_initializer();
    init.set_kind(tensor.initializer.kind());
    init.set_a(tensor.initializer.a());
    init.set_b(tensor.initializer.b());
    spec.set_group(tensor.group);
  }
  return proto;
}

std::size_t Manifest::TensorAt(std::uint64_t element) const {
  const auto after = std::upper_bound(tensors_.begin(), tensors_.end(), element,
                                      [](std::uint64_t e, const Tensor& t) { return e < t.offset; });
  return static_cast<std::size_t>(after - tensors_.begin()) - 1;
}

float InitialValue(std::uint64_t seed, const Tensor& tensor, std::uint64_t index) {
  const v1::Initializer& init = tensor.initializer;
  switch (init.kind()) {
    case v1::Initializer::CONSTANT:
      return init.a();
    case v1::Initializer::UNIFORM: {
      const std::uint64_t key = HashCombine(HashString(tensor.name, seed), index);
      return static_cast<float>(init.a() + (static_cast<double>(init.b()) - init.a()) * UnitUniform(key));
    }
    case v1::Initializer::NORMAL: {
      const std::uint64_t key = HashCombine(HashString(tensor.name, seed), index);
      const double u = 1.0 - UnitUniform(key);  // (0, 1]: its logarithm is finite
      const double v = UnitUniform(Mix64(key));
      constexpr double kTwoPi = 6.283185307179586;
      return static_cast<float>(init.a() + init.b() * std::sqrt(-2.0 * std::log(u)) * std::cos(kTwoPi * v));
    }
    default:
      return 0.0f;
  }
}

void FillInitialValues(std::uint64_t seed, const Manifest& manifest, std::uint64_t first, absl::Span<float> out) {
  if (out.empty()) return;
  std::size_t at = manifest.TensorAt(first);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t element = first + i;
    while (element >= manifest.tensors()[at].offset + manifest.tensors()[at].count) ++at;
    const Tensor& tensor = manifest.tensors()[at];
    out[i] = InitialValue(seed, tensor, element - tensor.offset);
  }
}

}  // namespace leeway
