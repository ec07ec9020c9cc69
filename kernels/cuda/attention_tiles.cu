#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/tile_mma.h"

namespace leeway::cuda {
namespace {

static_assert(kTile == kMaxTileHead);

constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// One head of one sequence: where its matrices [length][size] begin. Smaller heads than 64 are computed as such of 64
// whose further columns are 0; with kWhole the size is known to be 64.
template <bool kWhole>
struct Head {
  const Bf16 *q, *k, *v, *y, *dy;
  Bf16 *out_y, *dq, *dk, *dv;
  std::int64_t qkv_stride, y_stride;
  float* lse;
  int head_size;

  __device__ int size() const { return kWhole ? kTile : head_size; }
  // What scores are multiplied with: 1 / sqrt(size); and the same for exp2 in place of exp.
  __device__ float root() const { return kWhole ? 0.125f : rsqrtf(static_cast<float>(head_size)); }
  __device__ float scale() const { return kLog2E * root(); }
};

template <bool kWhole>
__device__ Head<kWhole> HeadAt(const Attention& args, std::int64_t index) {
  const std::int64_t size = kWhole ? kTile : args.head_size;
  const std::int64_t b = index / args.heads, h = index % args.heads, width = args.heads * size;
  const std::int64_t in = b * args.length * 3 * width + h * size, out = b * args.length * width + h * size;
  const Bf16* const qkv = static_cast<const Bf16*>(args.qkv) + in;
  Bf16* const dqkv = static_cast<Bf16*>(args.dqkv) + in;
  return {qkv,
          qkv + width,
          qkv + 2 * width,
          static_cast<const Bf16*>(args.y) + out,
          static_cast<const Bf16*>(args.dy) + out,
          static_cast<Bf16*>(const_cast<void*>(args.y)) + out,
          dqkv,
          dqkv + width,
          dqkv + 2 * width,
          3 * width,
          width,
          args.lse + index * args.length,
          static_cast<int>(size)};
}

// 2 ^ x to about 2^-22, 0 for -infinity, NaN for NaN.
__device__ float Exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// The largest or the sum over the four threads that hold a row.
__device__ float RowMax(float value) {
  value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 2));
}
__device__ float RowSum(float value) {
  value += __shfl_xor_sync(0xffffffffu, value, 1);
  return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

// Block: 64 queries of a head, keys up to them in tiles of 64, of which the next is on its way while one is at work.
template <bool kWhole>
__global__ void __launch_bounds__(kTileThreads) Forward(Attention args) {
  __shared__ __align__(128) Bf16 keys[2][kTile * kTile];
  __shared__ __align__(128) Bf16 values[2][kTile * kTile];
  const int warp = threadIdx.x / kWarp, group = threadIdx.x % kWarp / 4, member = threadIdx.x % 4;
  // The longest rows first: the last blocks to start are then the shortest.
  const int last = static_cast<int>(gridDim.x - 1 - blockIdx.x);
  const Head<kWhole> head = HeadAt<kWhole>(args, blockIdx.y);
  const float scale = head.scale();
  const std::int64_t first = static_cast<std::int64_t>(last) * kTile;

  // The queries pass through the first buffer into registers.
  StartTile(head.q, head.qkv_stride, first, args.length, head.size(), keys[0]);
  CommitTiles();
  WaitTiles<0>();
  __syncthreads();
  RowFragment q[kSteps];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) q[step] = LoadRows(keys[0], warp * 16, step);
  __syncthreads();

  StartTile(head.k, head.qkv_stride, 0, args.length, head.size(), keys[0]);
  StartTile(head.v, head.qkv_stride, 0, args.length, head.size(), values[0]);
  CommitTiles();
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  Accumulators out = {};
  for (int tile = 0; tile <= last; ++tile) {
    if (tile < last) {
      StartTile(head.k, head.qkv_stride, (tile + 1) * kTile, args.length, head.size(), keys[(tile + 1) % 2]);
      StartTile(head.v, head.qkv_stride, (tile + 1) * kTile, args.length, head.size(), values[(tile + 1) % 2]);
    }
    CommitTiles();
    WaitTiles<1>();
    __syncthreads();
    Accumulators scores = {};
    MultiplyTransposed(q, keys[tile % 2], scores);
    if (tile == last) {
      // On the diagonal keys after the query, and rows beyond the end, which are after all queries, are left out.
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (c * 8 + member * 2 + e % 2 > warp * 16 + group + 8 * (e / 2)) scores[c][e] = -INFINITY;
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = largest[half];
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
        most = fmaxf(most, fmaxf(scores[c][2 * half], scores[c][2 * half + 1]));
      }
      most = RowMax(most);
      const float base = most == -INFINITY ? 0.0f : most * scale;  // not NaN where all scores are -infinity
      const float shrink = Exp2(largest[half] * scale - base);
      float sum = 0;
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[c][2 * half + e];
          score = Exp2(score * scale - base);
          sum += score;
          out[c][2 * half + e] *= shrink;
        }
      }
      total[half] = total[half] * shrink + sum;
      largest[half] = most;
    }
    MultiplyPlain(scores, values[tile % 2], out);
    __syncthreads();  // before the next tile but one comes into this buffer
  }
  const float sums[2] = {RowSum(total[0]), RowSum(total[1])};
  StoreRows(out, 1.0f / sums[0], 1.0f / sums[1], first + warp * 16, args.length, head.size(), head.y_stride,
            head.out_y);
  if (member == 0) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t row = first + warp * 16 + group + 8 * half;
      if (row < args.length) head.lse[row] = largest[half] * scale * kLn2 + logf(sums[half]);
    }
  }
}

// delta[i] = dy_i . y_i, a warp per position and head; each lane has two elements.
constexpr int kDeltaWarps = 8;
template <bool kWhole>
__global__ void Delta(Attention args, std::int64_t count, float* delta) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kDeltaWarps + threadIdx.x / kWarp;
  if (index >= count) return;
  const int lane = threadIdx.x % kWarp;
  const Head<kWhole> head = HeadAt<kWhole>(args, index / args.length);
  const std::int64_t at = index % args.length * head.y_stride + 2 * lane;
  float sum = 0;
  if (2 * lane < head.size()) {
    sum = Load(head.y + at) * Load(head.dy + at) + Load(head.y + at + 1) * Load(head.dy + at + 1);
  }
  sum = WarpSum(sum);
  if (lane == 0) delta[index] = sum;
}

// Block: 64 queries of a head; dq.
template <bool kWhole>
__global__ void __launch_bounds__(kTileThreads) Queries(Attention args, const float* delta) {
  __shared__ __align__(128) Bf16 keys[2][kTile * kTile];
  __shared__ __align__(128) Bf16 values[2][kTile * kTile];
  const int warp = threadIdx.x / kWarp, group = threadIdx.x % kWarp / 4, member = threadIdx.x % 4;
  const int last = static_cast<int>(gridDim.x - 1 - blockIdx.x);
  const Head<kWhole> head = HeadAt<kWhole>(args, blockIdx.y);
  const float scale = head.scale();
  const std::int64_t first = static_cast<std::int64_t>(last) * kTile;

  StartTile(head.q, head.qkv_stride, first, args.length, head.size(), keys[0]);
  StartTile(head.dy, head.y_stride, first, args.length, head.size(), values[0]);
  CommitTiles();
  WaitTiles<0>();
  __syncthreads();
  RowFragment q[kSteps], dy[kSteps];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    q[step] = LoadRows(keys[0], warp * 16, step);
    dy[step] = LoadRows(values[0], warp * 16, step);
  }
  __syncthreads();

  float lse2[2], row_delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t row = first + warp * 16 + group + 8 * half;
    lse2[half] = row < args.length ? head.lse[row] * kLog2E : 0.0f;
    row_delta[half] = row < args.length ? delta[blockIdx.y * args.length + row] : 0.0f;
  }
  StartTile(head.k, head.qkv_stride, 0, args.length, head.size(), keys[0]);
  StartTile(head.v, head.qkv_stride, 0, args.length, head.size(), values[0]);
  CommitTiles();
  Accumulators dq = {};
  for (int tile = 0; tile <= last; ++tile) {
    if (tile < last) {
      StartTile(head.k, head.qkv_stride, (tile + 1) * kTile, args.length, head.size(), keys[(tile + 1) % 2]);
      StartTile(head.v, head.qkv_stride, (tile + 1) * kTile, args.length, head.size(), values[(tile + 1) % 2]);
    }
    CommitTiles();
    WaitTiles<1>();
    __syncthreads();
    Accumulators scores = {}, gradients = {};
    MultiplyTransposed(q, keys[tile % 2], scores);
    MultiplyTransposed(dy, values[tile % 2], gradients);
    // ds without its factor of 1 / sqrt(size), which comes at the end.
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        gradients[c][e] = Exp2(scores[c][e] * scale - lse2[e / 2]) * (gradients[c][e] - row_delta[e / 2]);
      }
    }
    if (tile == last) {
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (c * 8 + member * 2 + e % 2 > warp * 16 + group + 8 * (e / 2)) gradients[c][e] = 0;
        }
      }
    }
    MultiplyPlain(gradients, keys[tile % 2], dq);
    __syncthreads();
  }
  StoreRows(dq, head.root(), head.root(), first + warp * 16, args.length, head.size(), head.qkv_stride, head.dq);
}

// Block: 64 keys of a head; dk and dv, over the queries from there on. Scores are computed transposed: rows are keys.
template <bool kWhole>
__global__ void __launch_bounds__(kTileThreads) Keys(Attention args, const float* delta, int tiles) {
  __shared__ __align__(128) Bf16 queries[2][kTile * kTile];
  __shared__ __align__(128) Bf16 outputs[2][kTile * kTile];  // dy
  __shared__ float lse2[2][kTile], deltas[2][kTile];
  const int warp = threadIdx.x / kWarp, group = threadIdx.x % kWarp / 4, member = threadIdx.x % 4;
  const int key_tile = static_cast<int>(blockIdx.x);  // the first has the most queries
  const Head<kWhole> head = HeadAt<kWhole>(args, blockIdx.y);
  const float scale = head.scale();
  const std::int64_t first = static_cast<std::int64_t>(key_tile) * kTile;

  StartTile(head.k, head.qkv_stride, first, args.length, head.size(), queries[0]);
  StartTile(head.v, head.qkv_stride, first, args.length, head.size(), outputs[0]);
  CommitTiles();
  WaitTiles<0>();
  __syncthreads();
  RowFragment k[kSteps], v[kSteps];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    k[step] = LoadRows(queries[0], warp * 16, step);
    v[step] = LoadRows(outputs[0], warp * 16, step);
  }
  __syncthreads();

  const auto start = [&](int tile) {
    const std::int64_t row = static_cast<std::int64_t>(tile) * kTile;
    StartTile(head.q, head.qkv_stride, row, args.length, head.size(), queries[tile % 2]);
    StartTile(head.dy, head.y_stride, row, args.length, head.size(), outputs[tile % 2]);
    if (threadIdx.x < kTile) {
      const bool inside = row + threadIdx.x < args.length;
      lse2[tile % 2][threadIdx.x] = inside ? head.lse[row + threadIdx.x] * kLog2E : 0.0f;
      deltas[tile % 2][threadIdx.x] = inside ? delta[blockIdx.y * args.length + row + threadIdx.x] : 0.0f;
    }
  };
  start(key_tile);
  CommitTiles();
  Accumulators dk = {}, dv = {};
  for (int tile = key_tile; tile < tiles; ++tile) {
    if (tile + 1 < tiles) start(tile + 1);
    CommitTiles();
    WaitTiles<1>();
    __syncthreads();
    const int buffer = tile % 2;
    Accumulators scores = {}, gradients = {};
    MultiplyTransposed(k, queries[buffer], scores);
    MultiplyTransposed(v, outputs[buffer], gradients);
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int query = c * 8 + member * 2 + e % 2;
        scores[c][e] = Exp2(scores[c][e] * scale - lse2[buffer][query]);
        gradients[c][e] = scores[c][e] * (gradients[c][e] - deltas[buffer][query]);
      }
    }
    // On the diagonal queries before the key are left out, and in the last tile those beyond the end.
    if (tile == key_tile || tile + 1 == tiles) {
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int key = warp * 16 + group + 8 * (e / 2), query = c * 8 + member * 2 + e % 2;
          if ((tile == key_tile && key > query) || static_cast<std::int64_t>(tile) * kTile + query >= args.length) {
            scores[c][e] = gradients[c][e] = 0;
          }
        }
      }
    }
    MultiplyPlain(scores, outputs[buffer], dv);
    MultiplyPlain(gradients, queries[buffer], dk);
    __syncthreads();
  }
  StoreRows(dk, head.root(), head.root(), first + warp * 16, args.length, head.size(), head.qkv_stride, head.dk);
  StoreRows(dv, 1.0f, 1.0f, first + warp * 16, args.length, head.size(), head.qkv_stride, head.dv);
}

template <bool kWhole>
cudaError_t StartForward(cudaStream_t stream, const Attention& args) {
  const dim3 grid(CeilDiv(static_cast<std::size_t>(args.length), kTile),
                  static_cast<unsigned>(args.batch * args.heads));
  Forward<kWhole><<<grid, kTileThreads, 0, stream>>>(args);
  return cudaGetLastError();
}

template <bool kWhole>
cudaError_t StartBackward(cudaStream_t stream, const Attention& args, float* delta) {
  const std::int64_t count = args.batch * args.heads * args.length;
  Delta<kWhole>
      <<<CeilDiv(static_cast<std::size_t>(count), kDeltaWarps), kDeltaWarps * kWarp, 0, stream>>>(args, count, delta);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  const unsigned tiles = CeilDiv(static_cast<std::size_t>(args.length), kTile);
  const dim3 grid(tiles, static_cast<unsigned>(args.batch * args.heads));
  Queries<kWhole><<<grid, kTileThreads, 0, stream>>>(args, delta);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  Keys<kWhole><<<grid, kTileThreads, 0, stream>>>(args, delta, static_cast<int>(tiles));
  return cudaGetLastError();
}

}  // namespace

cudaError_t TileAttentionForward(cudaStream_t stream, const Attention& args) {
  return args.head_size == kTile ? StartForward<true>(stream, args) : StartForward<false>(stream, args);
}

cudaError_t TileAttentionBackward(cudaStream_t stream, const Attention& args, float* delta) {
  return args.head_size == kTile ? StartBackward<true>(stream, args, delta) : StartBackward<false>(stream, args, delta);
}

}  // namespace leeway::cuda
