#include "kernels/cuda/embedding.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vectors.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 256;

// One block looks for the first token outside of the vocabulary.
constexpr int kCheckThreads = 1024;
__global__ void Check(Embedding args, DeviceFault* fault) {
  const long long count = args.batch * args.length;
  long long bad = count;
  for (long long i = threadIdx.x; i < count; i += kCheckThreads) {
    const std::int32_t token = args.tokens[i];
    if (token < 0 || token >= args.vocabulary) bad = min(bad, i);
  }
  bad = BlockCombine<kCheckThreads>(bad, count, Smaller());
  if (threadIdx.x != 0 || bad == count || fault->kind != DeviceFault::kNone) return;
  fault->row = bad / args.length;
  fault->column = bad % args.length;
  fault->value = args.tokens[bad];
  fault->limit = args.vocabulary;
  fault->kind = DeviceFault::kToken;
}

template <typename T>
__global__ void Forward(Embedding args, const float* wte, const float* wpe, T* y) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t token = args.tokens[row];
  if (token < 0 || token >= args.vocabulary) return;  // reported by Check
  const float* const te = wte + token * args.width;
  const float* const pe = wpe + row % args.length * args.width;
  for (std::int64_t c = threadIdx.x; c < args.width; c += kThreads) Store(te[c] + pe[c], y + row * args.width + c);
}

template <typename T>
__global__ void Positions(Embedding args, const T* dy, float* dwpe, bool add) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t plane = args.length * args.width;
  if (i >= plane) return;
  float sum = add ? dwpe[i] : 0.0f;
  for (std::int64_t b = 0; b < args.batch; ++b) sum += Load(dy + b * plane + i);
  dwpe[i] = sum;
}

// A block per place in the batch; the one that has a token's first occurrence adds up all of that token, in order. Most
// blocks find an earlier occurrence soon and end.
template <typename T>
__global__ void Tokens(Embedding args, const T* dy, float* dwte) {
  __shared__ int matches[kThreads];
  __shared__ int warp_counts[kThreads / kWarp];
  const std::int64_t count = args.batch * args.length, place = blockIdx.x;
  const std::int32_t token = args.tokens[place];
  if (token < 0 || token >= args.vocabulary) return;  // reported by Check
  for (std::int64_t begin = 0; begin < place; begin += kThreads) {
    const std::int64_t i = begin + threadIdx.x;
    if (__syncthreads_or(i < place && args.tokens[i] == token)) return;
  }
  constexpr int kColumns = 8;  // of a thread; wider rows take more rounds
  for (std::int64_t first = 0; first < args.width; first += kColumns * kThreads) {
    float sums[kColumns];
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const std::int64_t c = first + k * kThreads + threadIdx.x;
      sums[k] = c < args.width ? dwte[token * args.width + c] : 0.0f;
    }
    for (std::int64_t begin = place; begin < count; begin += kThreads) {
      // The places of this token among the next kThreads, in order.
      const std::int64_t i = begin + threadIdx.x;
      const bool match = i < count && args.tokens[i] == token;
      const unsigned ballot = __ballot_sync(0xffffffffu, match);
      __syncthreads();  // the last round's matches have been read
      if (threadIdx.x % kWarp == 0) warp_counts[threadIdx.x / kWarp] = __popc(ballot);
      __syncthreads();
      int before = 0, found = 0;
      for (int w = 0; w < kThreads / kWarp; ++w) {
        before += w < static_cast<int>(threadIdx.x) / kWarp ? warp_counts[w] : 0;
        found += warp_counts[w];
      }
      const unsigned lower = (1u << (threadIdx.x % kWarp)) - 1;
      if (match) matches[before + __popc(ballot & lower)] = static_cast<int>(threadIdx.x);
      __syncthreads();
      for (int m = 0; m < found; ++m) {
        const T* const row = dy + (begin + matches[m]) * args.width;
#pragma unroll
        for (int k = 0; k < kColumns; ++k) {
          const std::int64_t c = first + k * kThreads + threadIdx.x;
          if (c < args.width) sums[k] += Load(row + c);
        }
      }
    }
#pragma unroll
    for (int k = 0; k < kColumns; ++k) {
      const std::int64_t c = first + k * kThreads + threadIdx.x;
      if (c < args.width) dwte[token * args.width + c] = sums[k];
    }
  }
}

template <typename T>
cudaError_t RunForward(cudaStream_t stream, const Embedding& args, const float* wte, const float* wpe, T* y) {
  Forward<<<static_cast<unsigned>(args.batch * args.length), kThreads, 0, stream>>>(args, wte, wpe, y);
  return cudaGetLastError();
}

template <typename T>
cudaError_t RunBackward(cudaStream_t stream, const Embedding& args, const T* dy, float* dwte, float* dwpe,
                        bool add_dwpe) {
  Positions<<<CeilDiv(static_cast<std::size_t>(args.length * args.width), kThreads), kThreads, 0, stream>>>(
      args, dy, dwpe, add_dwpe);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  Tokens<<<static_cast<unsigned>(args.batch * args.length), kThreads, 0, stream>>>(args, dy, dwte);
  return cudaGetLastError();
}

}  // namespace

cudaError_t EmbeddingForward(cudaStream_t stream, const Embedding& args, const float* wte, const float* wpe, void* y,
                             DeviceFault* fault) {
  Check<<<1, kCheckThreads, 0, stream>>>(args, fault);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
  if (args.bf16) return RunForward(stream, args, wte, wpe, static_cast<Bf16*>(y));
  return RunForward(stream, args, wte, wpe, static_cast<float*>(y));
}

cudaError_t EmbeddingBackward(cudaStream_t stream, const Embedding& args, const void* dy, float* dwte, float* dwpe,
                              bool add_dwpe) {
  if (args.bf16) return RunBackward(stream, args, static_cast<const Bf16*>(dy), dwte, dwpe, add_dwpe);
  return RunBackward(stream, args, static_cast<const float*>(dy), dwte, dwpe, add_dwpe);
}

}  // namespace leeway::cuda
