// Manifest: the tensors of a model in the order in which they make up the model vector; its fingerprint
// is what every handshake compares. InitialValue: the weights that training starts from.
//
// Thread safety: immutable after construction.
// Invariants: at least one tensor; names unique and not empty; dimensions positive; offsets ascend without
// gaps, so tensor i is the elements [offset(i), offset(i) + count(i)) of the model vector.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/manifest.pb.h"

namespace leeway {

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  v1::Initializer initializer;
  std::string group;
  std::uint64_t offset = 0;
  std::uint64_t count = 0;
};

class Manifest {
 public:
  // Serialized: some 200,000 tensors. It travels in one message, and again with every change of the membership.
  static constexpr std::size_t kMaxBytes = 16 << 20;

  // INVALID_ARGUMENT: no tensors, a name that is empty or used twice, a dimension that is not positive,
  // more than 2^40 elements, a non-finite or empty initializer range, more than kMaxBytes.
  static absl::StatusOr<Manifest> FromProto(const v1::Manifest& proto);
  v1::Manifest ToProto() const;

  const std::string& model() const { return model_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }
  std::uint64_t elements() const { return elements_; }

  // Of everything above: two manifests with the same fingerprint train the same model from the same
  // kind of start. Never 0.
  std::uint64_t fingerprint() const { return fingerprint_; }

  // The index of the tensor that holds model-vector element `element`. Requires element < elements().
  std::size_t TensorAt(std::uint64_t element) const;

 private:
  std::string model_;
  std::vector<Tensor> tensors_;
  std::uint64_t elements_ = 0;
  std::uint64_t fingerprint_ = 0;
};

// The initial value of element `index` of `tensor`: a pure function of (seed, tensor name, index), the
// same on every shard and machine. Normal values by Box-Muller on two hashed uniforms.
float InitialValue(std::uint64_t seed, const Tensor& tensor, std::uint64_t index);

// Fills `out` with the model vector's elements [first, first + out.size()).
void FillInitialValues(std::uint64_t seed, const Manifest& manifest, std::uint64_t first, absl::Span<float> out);

}  // namespace leeway
