// MatmulCache: the three products of a linear layer, as oneDNN matmul primitives, each prepared at its first use
// and kept. (Measured against dnnl_sgemm at batches of 64 to 256: the same speed to 1.4 times, and the bias costs
// no further pass.)
//
// Thread safety: none.
// Invariants: at most kMaxEntries products are kept; when they are full of batch sizes that come once, all go.
#pragma once

#include <compare>
#include <cstddef>
#include <map>
#include <unordered_map>

#include "dnnl.hpp"
#include "kernels/ops.h"

namespace leeway {

// y[batch,out] = x[batch,in] w[out,in]^T + bias, or without bias | dx[batch,in] = dy[batch,out] w |
// dw[out,in] = dy^T x.
enum class Product { kForward, kForwardWithoutBias, kData, kWeights };

class MatmulCache {
 public:
  struct Key {
    Product product;
    std::int64_t batch, in, out;
    Write write;
    auto operator<=>(const Key&) const = default;
  };

  explicit MatmulCache(const dnnl::engine& engine) : engine_(engine) {}

  // left and right are the factors as the table above names them; `bias` is read by kForward alone. Throws
  // dnnl::error (caught by CpuStream::Run).
  void Run(dnnl::stream& stream, const Key& key, const float* left, const float* right, const float* bias, float* out);

 private:
  static constexpr std::size_t kMaxEntries = 512;

  struct Entry {
    dnnl::matmul primitive;
    dnnl::memory left, right, bias, out;
    std::unordered_map<int, dnnl::memory> arguments;  // handles of the above
  };

  Entry Make(const Key& key) const;

  dnnl::engine engine_;
  std::map<Key, Entry> entries_;
};

}  // namespace leeway
