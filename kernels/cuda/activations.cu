#include "kernels/cuda/activations.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vectors.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kEach = 8;  // elements of a thread

template <typename T>
__device__ void LoadEach(const T* x, float (&out)[kEach]) {
  constexpr int V = kVector<T>;
#pragma unroll
  for (int k = 0; k < kEach; k += V) {
    float piece[V];
    LoadVector(x + k, piece);
#pragma unroll
    for (int i = 0; i < V; ++i) out[k + i] = piece[i];
  }
}
template <typename T>
__device__ void StoreEach(const float (&values)[kEach], T* x) {
  constexpr int V = kVector<T>;
#pragma unroll
  for (int k = 0; k < kEach; k += V) {
    float piece[V];
#pragma unroll
    for (int i = 0; i < V; ++i) piece[i] = values[k + i];
    StoreVector(piece, x + k);
  }
}

// out = f(x, out before).
template <bool kAligned, bool kReadsOut, typename From, typename To, typename F>
__global__ void Map(std::size_t count, const From* x, To* out, F f) {
  const std::size_t at = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * kEach;
  if (kAligned && at + kEach <= count) {
    float values[kEach], before[kEach] = {};
    LoadEach(x + at, values);
    if constexpr (kReadsOut) LoadEach(out + at, before);
#pragma unroll
    for (int k = 0; k < kEach; ++k) values[k] = f(values[k], before[k]);
    StoreEach(values, out + at);
    return;
  }
  for (std::size_t i = at; i < count && i < at + kEach; ++i) {
    float before = 0;
    if constexpr (kReadsOut) before = Load(out + i);
    Store(f(Load(x + i), before), out + i);
  }
}

template <bool kReadsOut, typename From, typename To, typename F>
cudaError_t Run(cudaStream_t stream, std::size_t count, const void* x, void* out, F f) {
  if (count == 0) return cudaSuccess;
  const unsigned blocks = CeilDiv(count, std::size_t{kThreads} * kEach);
  const auto* from = static_cast<const From*>(x);
  auto* to = static_cast<To*>(out);
  if (Aligned16(x, out)) {
    Map<true, kReadsOut><<<blocks, kThreads, 0, stream>>>(count, from, to, f);
  } else {
    Map<false, kReadsOut><<<blocks, kThreads, 0, stream>>>(count, from, to, f);
  }
  return cudaGetLastError();
}

constexpr float kRoot = 0.7978845608028654f;  // sqrt(2 / pi)
constexpr float kCube = 0.044715f;

struct Gelu {
  __device__ float operator()(float v, float) const {
    // Not v * (1 + tanh) / 2 where v is infinite: -inf * 0 is NaN, and stays not finite, as it should.
    return 0.5f * v * (1.0f + tanhf(kRoot * (v + kCube * v * v * v)));
  }
};
struct GeluGradient {
  __device__ float operator()(float v, float dy) const {
    const float t = tanhf(kRoot * (v + kCube * v * v * v));
    float slope = 0.5f * (1.0f + t);
    // Where tanh is 1 or -1, its derivative is 0, whatever v * v has overflowed to.
    if (const float rest = 1.0f - t * t; rest != 0) slope += 0.5f * v * rest * kRoot * (1.0f + 3.0f * kCube * v * v);
    return dy * slope;
  }
};
struct Same {
  __device__ float operator()(float v, float) const { return v; }
};

}  // namespace

cudaError_t GeluForward(cudaStream_t stream, std::size_t count, bool bf16, const void* x, void* y) {
  return bf16 ? Run<false, Bf16, Bf16>(stream, count, x, y, Gelu{})
              : Run<false, float, float>(stream, count, x, y, Gelu{});
}

cudaError_t GeluBackward(cudaStream_t stream, std::size_t count, bool bf16, const void* x, void* dx) {
  return bf16 ? Run<true, Bf16, Bf16>(stream, count, x, dx, GeluGradient{})
              : Run<true, float, float>(stream, count, x, dx, GeluGradient{});
}

cudaError_t Cast(cudaStream_t stream, std::size_t count, const void* from, bool from_bf16, void* to, bool to_bf16) {
  if (from_bf16 == to_bf16) {
    return cudaMemcpyAsync(to, from, count * (from_bf16 ? 2 : 4), cudaMemcpyDeviceToDevice, stream);
  }
  return from_bf16 ? Run<false, Bf16, float>(stream, count, from, to, Same{})
                   : Run<false, float, Bf16>(stream, count, from, to, Same{});
}

}  // namespace leeway::cuda
