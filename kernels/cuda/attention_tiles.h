// Attention on the matrix units, in tiles that never leave the multiprocessor (Dao 2023, FlashAttention-2): bfloat16,
// heads of at most kMaxTileHead, a multiple of 8, any length. Unlike there, the backward pass computes dq in a kernel
// of its own, so that no sum depends on the order in which blocks run; the scores are computed twice for that.
//
// Thread safety: each call enqueues on `stream` and returns the launch's error.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/attention.h"

namespace leeway::cuda {

inline constexpr int kMaxTileHead = 64;

cudaError_t TileAttentionForward(cudaStream_t stream, const Attention& args);
// `delta` has room for batch * heads * length floats.
cudaError_t TileAttentionBackward(cudaStream_t stream, const Attention& args, float* delta);

}  // namespace leeway::cuda
