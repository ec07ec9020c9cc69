#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/layer_norm.h"
#include "kernels/cuda/vectors.h"

namespace leeway::cuda {
namespace {

constexpr float kEpsilon = 1e-5f;
constexpr int kWarps = 8;  // of a block

// A warp has a row. Rows whose width is a multiple of kLanes elements' vectors and at most kMax of them stay in
// registers: Row<T, V, kPieces> has kPieces pieces of V elements per lane, piece p of a lane being elements
// (p * 32 + lane) * V onwards; those at or beyond the width are 0 and not in memory.
template <typename T, int V>
__device__ void LoadPiece(const T* row, std::int64_t at, std::int64_t width, float (&out)[V]) {
  if (at < width) {
    if constexpr (V == 1) {
      out[0] = Load(row + at);
    } else {
      LoadVector(row + at, out);
    }
  } else {
#pragma unroll
    for (int i = 0; i < V; ++i) out[i] = 0;
  }
}
template <typename T, int V>
__device__ void StorePiece(const float (&values)[V], T* row, std::int64_t at, std::int64_t width) {
  if (at >= width) return;
  if constexpr (V == 1) {
    Store(values[0], row + at);
  } else {
    StoreVector(values, row + at);
  }
}
// `count` floats, of which V at a time are aligned.
template <int V>
__device__ void LoadFloats(const float* x, std::int64_t at, std::int64_t width, float (&out)[V]) {
  if (at >= width) return;
  if constexpr (V == 1) {
    out[0] = x[at];
  } else {
#pragma unroll
    for (int i = 0; i < V; i += 4) {
      const float4 v = *reinterpret_cast<const float4*>(x + at + i);
      out[i] = v.x, out[i + 1] = v.y, out[i + 2] = v.z, out[i + 3] = v.w;
    }
  }
}

template <typename T, int V, int kPieces>
__global__ void __launch_bounds__(kWarps* kWarp) Forward(NormForward args) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= args.rows) return;
  const int lane = threadIdx.x % kWarp;
  const std::int64_t width = args.width;
  const T* const x = static_cast<const T*>(args.x) + row * width;
  float values[kPieces][V];
  float sum = 0;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) LoadPiece<T, V>(x, (p * kWarp + lane) * V, width, values[p]);
  if (args.branch != nullptr) {
    const T* const branch = static_cast<const T*>(args.branch) + row * width;
    T* const out = static_cast<T*>(args.sum) + row * width;
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      float added[V];
      LoadPiece<T, V>(branch, (p * kWarp + lane) * V, width, added);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        T stored;  // what is normalized is what the next op reads: the rounded sum
        Store(values[p][i] + added[i], &stored);
        values[p][i] = Load(&stored);
      }
      StorePiece<T, V>(values[p], out, (p * kWarp + lane) * V, width);
    }
  }
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
#pragma unroll
    for (int i = 0; i < V; ++i) sum += values[p][i];
  }
  const float mean = WarpSum(sum) / static_cast<float>(width);
  float squares = 0;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
    if ((p * kWarp + lane) * V >= width) continue;
#pragma unroll
    for (int i = 0; i < V; ++i) squares += (values[p][i] - mean) * (values[p][i] - mean);
  }
  const float rstd = 1.0f / sqrtf(WarpSum(squares) / static_cast<float>(width) + kEpsilon);
  if (lane == 0) {
    args.mean[row] = mean;
    args.rstd[row] = rstd;
  }
  T* const y = static_cast<T*>(args.y) + row * width;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
    const std::int64_t at = (p * kWarp + lane) * V;
    float gain[V], bias[V];
    LoadFloats<V>(args.gain, at, width, gain);
    LoadFloats<V>(args.bias, at, width, bias);
#pragma unroll
    for (int i = 0; i < V; ++i) values[p][i] = (values[p][i] - mean) * rstd * gain[i] + bias[i];
    StorePiece<T, V>(values[p], y, at, width);
  }
}

// Rows of any width: read again for each pass, from the cache.
template <typename T>
__global__ void ForwardAny(NormForward args) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= args.rows) return;
  const int lane = threadIdx.x % kWarp;
  const std::int64_t width = args.width;
  const T* x = static_cast<const T*>(args.x) + row * width;
  float sum = 0;
  if (args.branch != nullptr) {
    const T* const branch = static_cast<const T*>(args.branch) + row * width;
    T* const out = static_cast<T*>(args.sum) + row * width;
    for (std::int64_t c = lane; c < width; c += kWarp) Store(Load(x + c) + Load(branch + c), out + c);
    x = out;  // each lane reads back what it wrote itself
  }
  for (std::int64_t c = lane; c < width; c += kWarp) sum += Load(x + c);
  const float mean = WarpSum(sum) / static_cast<float>(width);
  float squares = 0;
  for (std::int64_t c = lane; c < width; c += kWarp) squares += (Load(x + c) - mean) * (Load(x + c) - mean);
  const float rstd = 1.0f / sqrtf(WarpSum(squares) / static_cast<float>(width) + kEpsilon);
  if (lane == 0) {
    args.mean[row] = mean;
    args.rstd[row] = rstd;
  }
  T* const y = static_cast<T*>(args.y) + row * width;
  for (std::int64_t c = lane; c < width; c += kWarp) {
    Store((Load(x + c) - mean) * rstd * args.gain[c] + args.bias[c], y + c);
  }
}

// 16 bytes of a row as they lie in memory: half the registers of bfloat16 as float32.
struct Raw {
  uint4 words;
};
template <typename T>
__device__ Raw LoadRaw(const T* row, std::int64_t at, std::int64_t width) {
  return {at < width ? *reinterpret_cast<const uint4*>(row + at) : uint4{}};
}
template <typename T, int V>
__device__ void Unpack(const Raw& raw, float (&out)[V]) {
  LoadVector(reinterpret_cast<const T*>(&raw), out);
}

// Warps take rows in turn; each keeps the sums of dgain and dbias over its rows; at the end a block's go to
// `partial` [blocks][2][width]. Which warp has which row depends on the grid alone. Two blocks per multiprocessor: with
// one, too few loads are under way.
template <typename T, int V, int kPieces>
__global__ void __launch_bounds__(kWarps* kWarp, 2) Backward(NormBackward args, float* partial) {
  const int lane = threadIdx.x % kWarp;
  const std::int64_t warp = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  const std::int64_t warps = static_cast<std::int64_t>(gridDim.x) * kWarps;
  const std::int64_t width = args.width;
  float dgain[kPieces][V] = {}, dbias[kPieces][V] = {};
  for (std::int64_t row = warp; row < args.rows; row += warps) {
    const float mean = args.mean[row], rstd = args.rstd[row];
    T* const dx = static_cast<T*>(args.dx) + row * width;
    Raw x[kPieces], dy[kPieces], before[kPieces] = {};
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      const std::int64_t at = (p * kWarp + lane) * V;
      x[p] = LoadRaw(static_cast<const T*>(args.x) + row * width, at, width);
      dy[p] = LoadRaw(static_cast<const T*>(args.dy) + row * width, at, width);
      if (args.add_dx) before[p] = LoadRaw(dx, at, width);
    }
    float sum_g = 0, sum_gn = 0;
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      const std::int64_t at = (p * kWarp + lane) * V;
      if (at >= width) continue;
      float n[V], d[V], gain[V];
      Unpack<T>(x[p], n);
      Unpack<T>(dy[p], d);
      LoadFloats<V>(args.gain, at, width, gain);
#pragma unroll
      for (int i = 0; i < V; ++i) {
        n[i] = (n[i] - mean) * rstd;
        dgain[p][i] += d[i] * n[i];
        dbias[p][i] += d[i];
        sum_g += d[i] * gain[i];
        sum_gn += d[i] * gain[i] * n[i];
      }
    }
    const float mean_g = WarpSum(sum_g) / static_cast<float>(width);
    const float mean_gn = WarpSum(sum_gn) / static_cast<float>(width);
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
      const std::int64_t at = (p * kWarp + lane) * V;
      if (at >= width) continue;
      float n[V], d[V], out[V], gain[V];
      Unpack<T>(x[p], n);
      Unpack<T>(dy[p], d);
      Unpack<T>(before[p], out);
      LoadFloats<V>(args.gain, at, width, gain);
#pragma unroll
      for (int i = 0; i < V; ++i) out[i] += rstd * (d[i] * gain[i] - mean_g - (n[i] - mean) * rstd * mean_gn);
      StorePiece<T, V>(out, dx, at, width);
    }
  }
  // The block's warps add theirs up one after the other.
  constexpr int kWidth = kPieces * kWarp * V;
  __shared__ float sums[2][kWidth];
  for (int turn = 0; turn < kWarps; ++turn) {
    if (static_cast<int>(threadIdx.x) / kWarp == turn) {
#pragma unroll
      for (int p = 0; p < kPieces; ++p) {
#pragma unroll
        for (int i = 0; i < V; ++i) {
          const int at = (p * kWarp + lane) * V + i;
          sums[0][at] = turn == 0 ? dgain[p][i] : sums[0][at] + dgain[p][i];
          sums[1][at] = turn == 0 ? dbias[p][i] : sums[1][at] + dbias[p][i];
        }
      }
    }
    __syncthreads();
  }
  float* const out = partial + static_cast<std::int64_t>(blockIdx.x) * 2 * width;
  for (std::int64_t at = threadIdx.x; at < width; at += kWarps * kWarp) {
    out[at] = sums[0][at];
    out[width + at] = sums[1][at];
  }
}

// The gradient of x alone, for any width.
template <typename T>
__global__ void BackwardAny(NormBackward args) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= args.rows) return;
  const int lane = threadIdx.x % kWarp;
  const std::int64_t width = args.width;
  const T* const x = static_cast<const T*>(args.x) + row * width;
  const T* const dy = static_cast<const T*>(args.dy) + row * width;
  const float mean = args.mean[row], rstd = args.rstd[row];
  float sum_g = 0, sum_gn = 0;
  for (std::int64_t c = lane; c < width; c += kWarp) {
    const float g = Load(dy + c) * args.gain[c];
    sum_g += g;
    sum_gn += g * ((Load(x + c) - mean) * rstd);
  }
  const float mean_g = WarpSum(sum_g) / static_cast<float>(width);
  const float mean_gn = WarpSum(sum_gn) / static_cast<float>(width);
  T* const dx = static_cast<T*>(args.dx) + row * width;
  for (std::int64_t c = lane; c < width; c += kWarp) {
    const float g = Load(dy + c) * args.gain[c], n = (Load(x + c) - mean) * rstd;
    const float gradient = rstd * (g - mean_g - n * mean_gn);
    Store(args.add_dx ? Load(dx + c) + gradient : gradient, dx + c);
  }
}

// Block (c, part): 32 columns, the part's rows; partial[part][2][width].
template <typename T>
__global__ void GainsAny(NormBackward args, std::int64_t rows_per_part, float* partial) {
  __shared__ float gains[kWarps][kWarp], biases[kWarps][kWarp];
  const int x = threadIdx.x % kWarp, y = threadIdx.x / kWarp;
  const std::int64_t width = args.width, column = static_cast<std::int64_t>(blockIdx.x) * kWarp + x;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * rows_per_part;
  const std::int64_t end = min(args.rows, begin + rows_per_part);
  float dgain = 0, dbias = 0;
  for (std::int64_t row = begin + y; column < width && row < end; row += kWarps) {
    const float dy = Load(static_cast<const T*>(args.dy) + row * width + column);
    dgain += dy * ((Load(static_cast<const T*>(args.x) + row * width + column) - args.mean[row]) * args.rstd[row]);
    dbias += dy;
  }
  gains[y][x] = dgain;
  biases[y][x] = dbias;
  __syncthreads();
  if (y != 0 || column >= width) return;
  for (int k = 1; k < kWarps; ++k) {
    dgain += gains[k][x];
    dbias += biases[k][x];
  }
  float* const out = partial + static_cast<std::int64_t>(blockIdx.y) * 2 * width + column;
  out[0] = dgain;
  out[width] = dbias;
}

// dgain and dbias from the partial sums [parts][2][width]. Thread (x, y) of a block adds every eighth part.
__global__ void SumParts(std::int64_t parts, std::int64_t width, const float* partial, float* dgain, float* dbias,
                         bool add) {
  __shared__ float sums[kWarps][kWarp];
  const int x = threadIdx.x % kWarp, y = threadIdx.x / kWarp;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kWarp + x;  // of dgain and dbias in one row
  float sum = 0;
  for (std::int64_t part = y; column < 2 * width && part < parts; part += kWarps) {
    sum += partial[part * 2 * width + column];
  }
  sums[y][x] = sum;
  __syncthreads();
  if (y != 0 || column >= 2 * width) return;
  for (int k = 1; k < kWarps; ++k) sum += sums[k][x];
  float* const out = column < width ? dgain + column : dbias + (column - width);
  *out = add ? *out + sum : sum;
}

template <typename T>
bool Vectors(std::int64_t width, int most) {
  return width % kVector<T> == 0 && width <= most * kWarp * kVector<T>;
}

template <typename T>
cudaError_t RunForward(cudaStream_t stream, const NormForward& args) {
  const unsigned blocks = CeilDiv(static_cast<std::size_t>(args.rows), kWarps);
  constexpr int V = kVector<T>, kThreads = kWarps * kWarp;
  const bool aligned = Aligned16(args.x, args.branch, args.sum, args.gain, args.bias, args.y);
  const std::int64_t pieces = (args.width + V * kWarp - 1) / (V * kWarp);
  if (!aligned || !Vectors<T>(args.width, 6)) {
    ForwardAny<T><<<blocks, kThreads, 0, stream>>>(args);
  } else if (pieces <= 1) {
    Forward<T, V, 1><<<blocks, kThreads, 0, stream>>>(args);
  } else if (pieces <= 2) {
    Forward<T, V, 2><<<blocks, kThreads, 0, stream>>>(args);
  } else if (pieces <= 3) {
    Forward<T, V, 3><<<blocks, kThreads, 0, stream>>>(args);
  } else if (pieces <= 4) {
    Forward<T, V, 4><<<blocks, kThreads, 0, stream>>>(args);
  } else {
    Forward<T, V, 6><<<blocks, kThreads, 0, stream>>>(args);
  }
  return cudaGetLastError();
}

template <typename T>
cudaError_t RunBackward(cudaStream_t stream, const NormBackward& args, float* partial, std::int64_t partial_floats) {
  constexpr int V = kVector<T>, kThreads = kWarps * kWarp;
  const auto rows = static_cast<std::size_t>(args.rows);
  const std::int64_t most_parts = std::max<std::int64_t>(1, partial_floats / (2 * args.width));
  const std::int64_t pieces = (args.width + V * kWarp - 1) / (V * kWarp);
  const bool aligned = Aligned16(args.x, args.gain, args.dy, args.dx);
  std::int64_t parts = 0;
  if (aligned && Vectors<T>(args.width, 4) && most_parts >= 264) {
    // Two blocks on each of an H100's multiprocessors; a constant, so that sums do not depend on the machine.
    const unsigned blocks = std::min({CeilDiv(rows, kWarps), 264u});
    parts = static_cast<std::int64_t>(blocks);
    if (pieces <= 1) {
      Backward<T, V, 1><<<blocks, kThreads, 0, stream>>>(args, partial);
    } else if (pieces <= 2) {
      Backward<T, V, 2><<<blocks, kThreads, 0, stream>>>(args, partial);
    } else if (pieces <= 3) {
      Backward<T, V, 3><<<blocks, kThreads, 0, stream>>>(args, partial);
    } else {
      Backward<T, V, 4><<<blocks, kThreads, 0, stream>>>(args, partial);
    }
  } else {
    parts = std::clamp<std::int64_t>((args.rows + 255) / 256, 1, std::min<std::int64_t>(most_parts, 1024));
    const std::int64_t rows_per_part = (args.rows + parts - 1) / parts;
    parts = (args.rows + rows_per_part - 1) / rows_per_part;
    const dim3 grid(CeilDiv(static_cast<std::size_t>(args.width), kWarp), static_cast<unsigned>(parts));
    GainsAny<T><<<grid, kThreads, 0, stream>>>(args, rows_per_part, partial);
    if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
    BackwardAny<T><<<CeilDiv(rows, kWarps), kThreads, 0, stream>>>(args);
  }
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  SumParts<<<CeilDiv(static_cast<std::size_t>(2 * args.width), kWarp), kThreads, 0, stream>>>(
      parts, args.width, partial, args.dgain, args.dbias, args.add);
  return cudaGetLastError();
}

}  // namespace

cudaError_t LayerNormForward(cudaStream_t stream, const NormForward& args) {
  return args.bf16 ? RunForward<Bf16>(stream, args) : RunForward<float>(stream, args);
}

cudaError_t LayerNormBackward(cudaStream_t stream, const NormBackward& args, void* workspace,
                              std::size_t workspace_bytes) {
  auto* const partial = static_cast<float*>(workspace);
  const auto floats = static_cast<std::int64_t>(workspace_bytes / sizeof(float));
  return args.bf16 ? RunBackward<Bf16>(stream, args, partial, floats)
                   : RunBackward<float>(stream, args, partial, floats);
}

}  // namespace leeway::cuda
