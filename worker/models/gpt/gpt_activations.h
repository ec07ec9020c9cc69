// GptActivations: where each activation of a `gpt` model lies in its one buffer of device memory.
//
// Thread safety: immutable after construction. Ownership: none; it gives addresses into the buffer it is told.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/transformer_ops.h"
#include "worker/models/gpt/gpt_config.h"

namespace leeway {

// rows = batch * context. Typed tensors are of the type that the layout was made for.
struct GptLayerActivations {
  TypedPtr stream;   // [rows, width]: the residual stream before the layer
  TypedPtr normal1;  // [rows, width]
  DevicePtr<float> mean1, rstd1;
  TypedPtr qkv;          // [rows, 3 width]
  DevicePtr<float> lse;  // [batch, heads, context]
  TypedPtr attended;     // [rows, width]
  TypedPtr middle;       // [rows, width]: the residual stream between the branches
  TypedPtr normal2;      // [rows, width]
  DevicePtr<float> mean2, rstd2;
  TypedPtr pre, up;  // [rows, 4 width]: before and after GELU
};

struct GptActivations {
  std::vector<GptLayerActivations> layers;
  TypedPtr branch;  // [rows, width]: a branch's output until it is added
  TypedPtr stream;  // [rows, width]: behind the last layer
  TypedPtr normal;  // [rows, width]
  DevicePtr<float> mean, rstd;
  TypedPtr logits;  // [rows, padded vocabulary]; then their gradient
  // Gradients, of the layer at work.
  TypedPtr d_stream;  // [rows, width]
  TypedPtr d_narrow;  // [rows, width]
  TypedPtr d_wide;    // [rows, 4 width]
};

// The activations of `batch` sequences from `base` on, each on a boundary of 256 bytes. Returns their size in bytes in
// *bytes; with a null base the addresses mean nothing.
GptActivations LayOutGpt(const GptConfig& config, std::int64_t batch, DataType type, DevicePtr<char> base,
                         std::size_t* bytes);

}  // namespace leeway
