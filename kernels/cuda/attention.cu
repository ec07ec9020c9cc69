#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vectors.h"

namespace leeway::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kPieces = kMaxHeadSize / kWarp;  // elements of a head that a lane holds

// Position i of one head of one sequence.
template <typename T>
struct Head {
  const T *q, *k, *v, *y, *dy;
  T *out_y, *dq, *dk, *dv;
  std::int64_t qkv_stride, y_stride;
  const float* lse;
  std::int64_t index;  // of the head among all
};

template <typename T>
__device__ Head<T> HeadAt(const Attention& args, std::int64_t index) {
  const std::int64_t b = index / args.heads, h = index % args.heads, width = args.heads * args.head_size;
  const T* const qkv = static_cast<const T*>(args.qkv) + b * args.length * 3 * width + h * args.head_size;
  const std::int64_t out = b * args.length * width + h * args.head_size;
  T* const dqkv = static_cast<T*>(args.dqkv) + b * args.length * 3 * width + h * args.head_size;
  return {qkv,
          qkv + width,
          qkv + 2 * width,
          static_cast<const T*>(args.y) + out,
          static_cast<const T*>(args.dy) + out,
          static_cast<T*>(const_cast<void*>(args.y)) + out,
          dqkv,
          dqkv + width,
          dqkv + 2 * width,
          3 * width,
          width,
          args.lse + index * args.length,
          index};
}

template <typename T>
__device__ void LoadHead(const T* x, std::int64_t size, int lane, float (&out)[kPieces]) {
#pragma unroll
  for (int p = 0; p < kPieces; ++p) out[p] = p * kWarp + lane < size ? Load(x + p * kWarp + lane) : 0.0f;
}
template <typename T>
__device__ void StoreHead(const float (&values)[kPieces], std::int64_t size, int lane, T* x) {
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
    if (p * kWarp + lane < size) Store(values[p], x + p * kWarp + lane);
  }
}
__device__ float Dot(const float (&a)[kPieces], const float (&b)[kPieces]) {
  float sum = 0;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) sum += a[p] * b[p];
  return WarpSum(sum);
}
__device__ void AddTimes(float factor, const float (&x)[kPieces], float (&sum)[kPieces]) {
#pragma unroll
  for (int p = 0; p < kPieces; ++p) sum[p] += factor * x[p];
}

// A warp per query. The softmax is online: its largest score so far, the sum of exponentials relative to it, and the
// output relative to it.
template <typename T>
__global__ void ForwardAny(Attention args, std::int64_t queries) {
  const std::int64_t query = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (query >= queries) return;
  const int lane = threadIdx.x % kWarp;
  const Head<T> head = HeadAt<T>(args, query / args.length);
  const std::int64_t i = query % args.length;
  const float scale = 1.0f / sqrtf(static_cast<float>(args.head_size));
  float q[kPieces], k[kPieces], v[kPieces], out[kPieces] = {};
  LoadHead(head.q + i * head.qkv_stride, args.head_size, lane, q);
  float largest = -INFINITY, total = 0;
  for (std::int64_t j = 0; j <= i; ++j) {
    LoadHead(head.k + j * head.qkv_stride, args.head_size, lane, k);
    LoadHead(head.v + j * head.qkv_stride, args.head_size, lane, v);
    const float score = Dot(q, k) * scale;
    if (score > largest) {
      const float shrink = expf(largest - score);  // 0 the first time
      total *= shrink;
#pragma unroll
      for (int p = 0; p < kPieces; ++p) out[p] *= shrink;
      largest = score;
    }
    const float weight = expf(score - largest);  // NaN of a NaN
    total += weight;
    AddTimes(weight, v, out);
  }
#pragma unroll
  for (int p = 0; p < kPieces; ++p) out[p] /= total;
  StoreHead(out, args.head_size, lane, head.out_y + i * head.y_stride);
  if (lane == 0) args.lse[head.index * args.length + i] = largest + logf(total);
}

// ds[i,j] and p[i,j] of one pair, D_i = dy_i . y_i.
struct Pair {
  float p, ds;
};
__device__ Pair PairOf(float score, float lse, float dp, float delta, float scale) {
  const float p = expf(score - lse);
  return {p, p * (dp - delta) * scale};
}

// A warp per query: dq.
template <typename T>
__global__ void QueriesAny(Attention args, std::int64_t queries) {
  const std::int64_t query = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (query >= queries) return;
  const int lane = threadIdx.x % kWarp;
  const Head<T> head = HeadAt<T>(args, query / args.length);
  const std::int64_t i = query % args.length;
  const float scale = 1.0f / sqrtf(static_cast<float>(args.head_size));
  float q[kPieces], k[kPieces], v[kPieces], y[kPieces], dy[kPieces], dq[kPieces] = {};
  LoadHead(head.q + i * head.qkv_stride, args.head_size, lane, q);
  LoadHead(head.y + i * head.y_stride, args.head_size, lane, y);
  LoadHead(head.dy + i * head.y_stride, args.head_size, lane, dy);
  const float delta = Dot(y, dy), lse = head.lse[i];
  for (std::int64_t j = 0; j <= i; ++j) {
    LoadHead(head.k + j * head.qkv_stride, args.head_size, lane, k);
    LoadHead(head.v + j * head.qkv_stride, args.head_size, lane, v);
    AddTimes(PairOf(Dot(q, k) * scale, lse, Dot(dy, v), delta, scale).ds, k, dq);
  }
  StoreHead(dq, args.head_size, lane, head.dq + i * head.qkv_stride);
}

// A warp per key: dk and dv.
template <typename T>
__global__ void KeysAny(Attention args, std::int64_t keys) {
  const std::int64_t key = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (key >= keys) return;
  const int lane = threadIdx.x % kWarp;
  const Head<T> head = HeadAt<T>(args, key / args.length);
  const std::int64_t j = key % args.length;
  const float scale = 1.0f / sqrtf(static_cast<float>(args.head_size));
  float q[kPieces], k[kPieces], v[kPieces], y[kPieces], dy[kPieces], dk[kPieces] = {}, dv[kPieces] = {};
  LoadHead(head.k + j * head.qkv_stride, args.head_size, lane, k);
  LoadHead(head.v + j * head.qkv_stride, args.head_size, lane, v);
  for (std::int64_t i = j; i < args.length; ++i) {
    LoadHead(head.q + i * head.qkv_stride, args.head_size, lane, q);
    LoadHead(head.y + i * head.y_stride, args.head_size, lane, y);
    LoadHead(head.dy + i * head.y_stride, args.head_size, lane, dy);
    const Pair pair = PairOf(Dot(q, k) * scale, head.lse[i], Dot(dy, v), Dot(y, dy), scale);
    AddTimes(pair.ds, q, dk);
    AddTimes(pair.p, dy, dv);
  }
  StoreHead(dk, args.head_size, lane, head.dk + j * head.qkv_stride);
  StoreHead(dv, args.head_size, lane, head.dv + j * head.qkv_stride);
}

template <typename T>
cudaError_t RunForward(cudaStream_t stream, const Attention& args) {
  const std::int64_t queries = args.batch * args.heads * args.length;
  ForwardAny<T><<<CeilDiv(static_cast<std::size_t>(queries), kWarps), kWarps * kWarp, 0, stream>>>(args, queries);
  return cudaGetLastError();
}

template <typename T>
cudaError_t RunBackward(cudaStream_t stream, const Attention& args) {
  const std::int64_t queries = args.batch * args.heads * args.length;
  const unsigned blocks = CeilDiv(static_cast<std::size_t>(queries), kWarps);
  QueriesAny<T><<<blocks, kWarps * kWarp, 0, stream>>>(args, queries);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  KeysAny<T><<<blocks, kWarps * kWarp, 0, stream>>>(args, queries);
  return cudaGetLastError();
}

bool Tiles(const Attention& args) {
  constexpr std::int64_t kMaxHeads = 65535;  // CUDA's limit of a grid's second dimension
  return args.bf16 && args.head_size <= kMaxTileHead && args.head_size % 8 == 0 &&
         args.batch * args.heads <= kMaxHeads && Aligned16(args.qkv, args.y, args.dy, args.dqkv);
}

}  // namespace

cudaError_t AttentionForward(cudaStream_t stream, const Attention& args) {
  if (Tiles(args)) return TileAttentionForward(stream, args);
  return args.bf16 ? RunForward<Bf16>(stream, args) : RunForward<float>(stream, args);
}

std::size_t AttentionWorkspace(const Attention& args) {
  return Tiles(args) ? static_cast<std::size_t>(args.batch * args.heads * args.length) * sizeof(float) : 0;
}

cudaError_t AttentionBackward(cudaStream_t stream, const Attention& args, void* workspace) {
  if (Tiles(args)) return TileAttentionBackward(stream, args, static_cast<float*>(workspace));
  return args.bf16 ? RunBackward<Bf16>(stream, args) : RunBackward<float>(stream, args);
}

}  // namespace leeway::cuda
