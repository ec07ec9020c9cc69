#include "kernels/cuda/launch.h"
#include "kernels/cuda/optimizer_steps.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 256;

// Four elements per thread. `rule(weight, gradient, slot 0, slot 1)` changes the slots and returns the new weight.
template <int kSlots, bool kVectors, typename Rule>
__global__ void ForEach(Rule rule, StepArrays arrays) {
  const std::size_t at = (static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (kVectors && at + 4 <= arrays.count) {
    const float4 g = *reinterpret_cast<const float4*>(arrays.gradient + at);
    float4 w = *reinterpret_cast<const float4*>(arrays.weights + at);
    float4 s{}, t{};
    if constexpr (kSlots >= 1) s = *reinterpret_cast<const float4*>(arrays.slots[0] + at);
    if constexpr (kSlots >= 2) t = *reinterpret_cast<const float4*>(arrays.slots[1] + at);
    w = {rule(w.x, g.x, s.x, t.x), rule(w.y, g.y, s.y, t.y), rule(w.z, g.z, s.z, t.z), rule(w.w, g.w, s.w, t.w)};
    *reinterpret_cast<float4*>(arrays.weights + at) = w;
    if constexpr (kSlots >= 1) *reinterpret_cast<float4*>(arrays.slots[0] + at) = s;
    if constexpr (kSlots >= 2) *reinterpret_cast<float4*>(arrays.slots[1] + at) = t;
    return;
  }
  for (std::size_t i = at; i < arrays.count && i < at + 4; ++i) {
    float s = 0, t = 0;
    if constexpr (kSlots >= 1) s = arrays.slots[0][i];
    if constexpr (kSlots >= 2) t = arrays.slots[1][i];
    arrays.weights[i] = rule(arrays.weights[i], arrays.gradient[i], s, t);
    if constexpr (kSlots >= 1) arrays.slots[0][i] = s;
    if constexpr (kSlots >= 2) arrays.slots[1][i] = t;
  }
}

template <int kSlots, typename Rule>
cudaError_t Run(cudaStream_t stream, Rule rule, const StepArrays& arrays) {
  if (arrays.count == 0) return cudaSuccess;
  const unsigned blocks = CeilDiv(arrays.count, std::size_t{4} * kThreads);
  if (Aligned16(arrays.gradient, arrays.weights, arrays.slots[0], arrays.slots[1])) {
    ForEach<kSlots, true><<<blocks, kThreads, 0, stream>>>(rule, arrays);
  } else {
    ForEach<kSlots, false><<<blocks, kThreads, 0, stream>>>(rule, arrays);
  }
  return cudaGetLastError();
}

struct SgdStep {
  SgdRule rule;
  __device__ float operator()(float w, float g, float&, float&) const { return rule(w, g); }
};
struct PlainStep {
  MomentumRule rule;
  __device__ float operator()(float w, float g, float& buffer, float&) const { return rule.Plain(w, g, buffer); }
};
struct NesterovStep {
  MomentumRule rule;
  __device__ float operator()(float w, float g, float& buffer, float&) const { return rule.Nesterov(w, g, buffer); }
};
template <typename Rule>
struct OneSlotStep {
  Rule rule;
  __device__ float operator()(float w, float g, float& slot, float&) const { return rule(w, g, slot); }
};
template <typename Rule>
struct TwoSlotStep {
  Rule rule;
  __device__ float operator()(float w, float g, float& first, float& second) const { return rule(w, g, first, second); }
};

}  // namespace

cudaError_t Step(cudaStream_t stream, const SgdRule& rule, const StepArrays& arrays) {
  return Run<0>(stream, SgdStep{rule}, arrays);
}
cudaError_t Step(cudaStream_t stream, const MomentumRule& rule, bool nesterov, const StepArrays& arrays) {
  return nesterov ? Run<1>(stream, NesterovStep{rule}, arrays) : Run<1>(stream, PlainStep{rule}, arrays);
}
cudaError_t Step(cudaStream_t stream, const AdagradRule& rule, const StepArrays& arrays) {
  return Run<1>(stream, OneSlotStep<AdagradRule>{rule}, arrays);
}
cudaError_t Step(cudaStream_t stream, const RmspropRule& rule, const StepArrays& arrays) {
  return Run<1>(stream, OneSlotStep<RmspropRule>{rule}, arrays);
}
cudaError_t Step(cudaStream_t stream, const AdamRule& rule, const StepArrays& arrays) {
  return Run<2>(stream, TwoSlotStep<AdamRule>{rule}, arrays);
}
cudaError_t Step(cudaStream_t stream, const FtrlRule& rule, const StepArrays& arrays) {
  return Run<2>(stream, TwoSlotStep<FtrlRule>{rule}, arrays);
}

}  // namespace leeway::cuda
