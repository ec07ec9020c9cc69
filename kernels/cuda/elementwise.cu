#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/launch.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 256;

// out[i] = f(a[i], b[i]), four elements per thread. out may be a or b: each element is read before it is written, by
// the same thread. kInputs says how many of a and b are read.
template <int kInputs, bool kVectors, typename F>
__global__ void Map(std::size_t count, const float* a, const float* b, float* out, F f) {
  const std::size_t i = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (kVectors && i + 4 <= count) {
    float4 x{}, y{};
    if constexpr (kInputs >= 1) x = *reinterpret_cast<const float4*>(a + i);
    if constexpr (kInputs >= 2) y = *reinterpret_cast<const float4*>(b + i);
    *reinterpret_cast<float4*>(out + i) = {f(x.x, y.x), f(x.y, y.y), f(x.z, y.z), f(x.w, y.w)};
    return;
  }
  for (std::size_t k = i; k < count && k < i + 4; ++k) {
    out[k] = f(kInputs >= 1 ? a[k] : 0.0f, kInputs >= 2 ? b[k] : 0.0f);
  }
}

template <int kInputs, typename F>
cudaError_t Run(cudaStream_t stream, std::size_t count, const float* a, const float* b, float* out, F f) {
  if (count == 0) return cudaSuccess;
  const unsigned blocks = CeilDiv(count, std::size_t{4} * kThreads);
  if (Aligned16(a, b, out)) {
    Map<kInputs, true><<<blocks, kThreads, 0, stream>>>(count, a, b, out, f);
  } else {
    Map<kInputs, false><<<blocks, kThreads, 0, stream>>>(count, a, b, out, f);
  }
  return cudaGetLastError();
}

struct Relu {
  __device__ float operator()(float x, float) const { return x <= 0 ? 0.0f : x; }  // NaN stays NaN
};
struct ReluGradient {
  __device__ float operator()(float y, float dy) const { return y > 0 ? dy : 0.0f; }
};
struct Constant {
  float value;
  __device__ float operator()(float, float) const { return value; }
};
struct Times {
  float factor;
  __device__ float operator()(float x, float) const { return factor * x; }
};
struct AddTimes {
  float a;
  __device__ float operator()(float x, float y) const { return y + a * x; }
};

}  // namespace

cudaError_t ReluForward(cudaStream_t stream, std::size_t count, const float* x, float* y) {
  return Run<1>(stream, count, x, x, y, Relu{});
}
cudaError_t ReluBackward(cudaStream_t stream, std::size_t count, const float* y, const float* dy, float* dx) {
  return Run<2>(stream, count, y, dy, dx, ReluGradient{});
}
cudaError_t Fill(cudaStream_t stream, std::size_t count, float value, float* x) {
  return Run<0>(stream, count, x, x, x, Constant{value});
}
cudaError_t Scale(cudaStream_t stream, std::size_t count, float factor, float* x) {
  return Run<1>(stream, count, x, x, x, Times{factor});
}
cudaError_t Axpy(cudaStream_t stream, std::size_t count, float a, const float* x, float* y) {
  return Run<2>(stream, count, x, y, y, AddTimes{a});
}

}  // namespace leeway::cuda
