// Causal self-attention (kernels/transformer_ops.h says what is computed, and in which layouts). Typed pointers are
// float32, or bfloat16 where `bf16`.
//
// Two ways, chosen by AttentionForward and AttentionBackward: on the matrix units for bfloat16 with heads of at
// most 64, a multiple of 8 (kernels/cuda/attention_tiles.h), else a warp per query and key, for any size and slow.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error. Ownership: `workspace` is the stream's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace leeway::cuda {

inline constexpr std::int64_t kMaxHeadSize = 256;

struct Attention {
  std::int64_t batch, length, heads, head_size;  // head_size is at most kMaxHeadSize
  bool bf16;
  const void* qkv;
  const void* y;   // an output of the forward pass
  float* lse;      // an output of the forward pass
  const void* dy;  // backward alone, as dqkv
  void* dqkv;
};

cudaError_t AttentionForward(cudaStream_t stream, const Attention& args);

// What the backward pass needs of its workspace.
std::size_t AttentionWorkspace(const Attention& args);
cudaError_t AttentionBackward(cudaStream_t stream, const Attention& args, void* workspace);

}  // namespace leeway::cuda
