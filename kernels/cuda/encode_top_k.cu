// One thread block has one block of the vector. The magnitude that is the `kept`-th greatest, the threshold, is found
// exactly, group of bits by group of bits, but among few values: a sample says above which magnitude some more than
// `kept` values lie (with an error of four standard deviations), and all of those, the candidates, are gathered in
// shared memory while the values are read once. Where the sample has erred (values that are not spread evenly, many
// zeros), or too many are wanted, all values are looked through instead.
#include "kernels/cuda/block_sums.h"
#include "kernels/cuda/encode_top_k.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarp;
constexpr unsigned kSample = 4096;  // values, 8 of each thread
constexpr unsigned kRoom = 768;     // candidates of a warp: then two blocks of threads fit an H100's multiprocessor
constexpr unsigned kAll = 0xffffffffu, kNan = 0x7fc00000u;

struct Shared {
  unsigned counts[256];
  unsigned digit, above;
  unsigned candidates[kWarps], above_of[kWarps], ties_of[kWarps];
  float values[kWarps][kRoom];
  unsigned indices[kWarps][kRoom];
};

// The `n`-th greatest of the magnitudes that `visit` calls its argument with, all threads together; of its 31 bits
// those above the lowest `without`. Afterwards `n` is: the how manieth of those equal to it.
template <typename Visit>
__device__ unsigned NthGreatest(Shared& shared, unsigned& n, int without, Visit visit) {
  unsigned result = 0, known = 0;
  for (int shift = 23; shift >= without; shift = shift == 7 ? 0 : shift - 8) {  // 8 + 8 + 8 + 7 bits
    const unsigned digits = shift == 0 ? 127u : 255u;
    for (int i = threadIdx.x; i < 256; i += kThreads) shared.counts[i] = 0;
    __syncthreads();
    visit([&](unsigned magnitude) {
      if ((magnitude & known) == result) atomicAdd(&shared.counts[(magnitude >> shift) & digits], 1u);
    });
    __syncthreads();
    if (threadIdx.x < kWarp) {  // lane 0 has the 8 greatest digits
      const int first = 255 - 8 * static_cast<int>(threadIdx.x);
      unsigned sum = 0;
#pragma unroll
      for (int k = 0; k < 8; ++k) sum += shared.counts[first - k];
      unsigned through = sum;
      for (int offset = 1; offset < kWarp; offset *= 2) {
        const unsigned other = __shfl_up_sync(kAll, through, offset);
        if (threadIdx.x >= offset) through += other;
      }
      unsigned above = through - sum;
      if (above < n && n <= through) {
        int digit = first;
        while (above + shared.counts[digit] < n) above += shared.counts[digit--];
        shared.digit = digit;
        shared.above = above;
      }
    }
    __syncthreads();
    result |= shared.digit << shift;
    known |= digits << shift;
    n -= shared.above;
    if (shift == 0) break;
  }
  return result;
}

// A magnitude above which, or at which, more than `kept` values lie, if the sample is like the whole; kAll if there
// are too many for the candidates' room.
template <typename Sums>
__device__ unsigned LeastCandidate(Shared& shared, const Sums& sums, unsigned kept, unsigned stretch) {
  const unsigned size = sums.size();
  const bool whole = size <= kSample;
  const unsigned sampled = whole ? size : kSample;
  const float expected = static_cast<float>(kept) * (static_cast<float>(sampled) / static_cast<float>(size));
  unsigned rank = whole ? kept : min(static_cast<unsigned>(expected + 4 * sqrtf(expected) + 8), kSample);
  if (static_cast<float>(rank) * static_cast<float>(stretch) > 0.75f * kRoom * static_cast<float>(sampled)) return kAll;
  constexpr int kEach = kSample / kThreads;
  unsigned magnitudes[kEach];
  unsigned mine = 0;
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const unsigned at = threadIdx.x + k * kThreads;
    // Runs of 32 values, spread evenly.
    const unsigned i = whole ? at : at / kWarp * (size / (kSample / kWarp)) + at % kWarp;
    if (at < sampled) magnitudes[k] = Magnitude(sums.At(i)), mine = k + 1;
  }
  return NthGreatest(shared, rank, 15, [&](auto count) {
    for (int k = 0; k < kEach; ++k) {
      if (k < mine) count(magnitudes[k]);
    }
  });
}

template <bool kResidual>
__global__ void __launch_bounds__(kThreads, 2) TopK(EncodedBlocks blocks, unsigned most_kept, unsigned last_kept,
                                                    const float* values, float* residual, bool aligned, char* out) {
  extern __shared__ uint4 memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const BlockSums<kResidual> sums(blocks, blockIdx.x, values, residual, aligned);
  const unsigned size = sums.size();
  const unsigned kept = blocks.EndsVector(blockIdx.x) ? last_kept : most_kept;
  auto* const words = reinterpret_cast<unsigned*>(out + blockIdx.x * (4 + std::size_t{8} * most_kept));
  unsigned* const indices = words + 1;
  auto* const chosen = reinterpret_cast<float*>(indices + kept);
  if (threadIdx.x == 0) *words = kept;
  if (kept == 0) return;

  // Each warp has a stretch of the block, so that what it finds is in order.
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, lower = (1u << lane) - 1;
  constexpr unsigned kRow = kWarp * 4;
  const unsigned stretch = ((size - 1) / (kWarps * kRow) + 1) * kRow;
  const unsigned begin = min(size, warp * stretch), end = min(size, begin + stretch);

  unsigned least = LeastCandidate(shared, sums, kept, stretch);
  least = max(least, 1u);  // zeros are no candidates: there may be too many
  unsigned found = 0, greatest = 0;
  constexpr int kRows = kResidual ? 2 : 4;  // in flight
  for (unsigned row = begin; row < end; row += kRows * kRow) {
    float4 v[kRows];
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      v[k] = row + k * kRow < end ? sums.FourOrLess(row + k * kRow + lane * 4) : float4{0, 0, 0, 0};
    }
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      const float four[4] = {v[k].x, v[k].y, v[k].z, v[k].w};
      unsigned votes[4], magnitudes[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        magnitudes[j] = Magnitude(four[j]);
        greatest = max(greatest, magnitudes[j]);
        votes[j] = __ballot_sync(kAll, magnitudes[j] >= least);
      }
      if ((votes[0] | votes[1] | votes[2] | votes[3]) == 0) continue;
      unsigned at = found;
#pragma unroll
      for (int j = 0; j < 4; ++j) at += __popc(votes[j] & lower), found += __popc(votes[j]);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (magnitudes[j] < least) continue;
        if (at < kRoom) {
          shared.values[warp][at] = four[j];
          shared.indices[warp][at] = row + k * kRow + lane * 4 + j;
        }
        ++at;
      }
    }
  }
  if (lane == 0) shared.candidates[warp] = found;
  greatest = BlockCombine<kThreads>(greatest, 0u, Greater());  // (its barriers are for `candidates`, too)
  if (kResidual && TooGreat(greatest)) {
    for (unsigned k = threadIdx.x; k < kept; k += kThreads) {
      indices[k] = k;
      chosen[k] = k == 0 ? __uint_as_float(kNan) : 0.0f;
    }
    return;
  }

  unsigned total = 0, most = 0;
  for (int w = 0; w < kWarps; ++w) total += shared.candidates[w], most = max(most, shared.candidates[w]);
  const bool all = least == kAll || most > kRoom || total < kept;
  const unsigned count = all ? end - begin : found;  // that this warp looks through
  const auto value = [&](unsigned k) { return all ? sums.At(begin + k) : shared.values[warp][k]; };

  unsigned ties = kept;  // of those equal to the threshold the first so many are kept
  const unsigned threshold = NthGreatest(shared, ties, 0, [&](auto look) {
    for (unsigned k = lane; k < count; k += kWarp) look(Magnitude(value(k)));
  });
  unsigned above_here = 0, ties_here = 0;
  for (unsigned k = lane; k < count; k += kWarp) {
    const unsigned magnitude = Magnitude(value(k));
    above_here += magnitude > threshold;
    ties_here += magnitude == threshold;
  }
  above_here = WarpSum(above_here);
  ties_here = WarpSum(ties_here);
  if (lane == 0) shared.above_of[warp] = above_here, shared.ties_of[warp] = ties_here;
  __syncthreads();
  unsigned above_before = 0, ties_before = 0;
  for (unsigned w = 0; w < warp; ++w) above_before += shared.above_of[w], ties_before += shared.ties_of[w];
  for (unsigned first = 0; first < count; first += kWarp) {
    const unsigned k = first + lane;
    const float v = k < count ? value(k) : 0.0f;
    const unsigned magnitude = Magnitude(v);
    const bool above = k < count && magnitude > threshold, tie = k < count && magnitude == threshold;
    const unsigned above_votes = __ballot_sync(kAll, above), tie_votes = __ballot_sync(kAll, tie);
    const unsigned tie_number = ties_before + __popc(tie_votes & lower);
    if (above || (tie && tie_number < ties)) {
      const unsigned at = above_before + __popc(above_votes & lower) + min(tie_number, ties);
      indices[at] = all ? begin + k : shared.indices[warp][k];
      chosen[at] = v;
    }
    above_before += __popc(above_votes);
    ties_before += __popc(tie_votes);
  }

  if constexpr (kResidual) {
    __syncthreads();  // all has been read that is read of the sums
    for (unsigned i = begin + lane * 4; i < end; i += kRow) sums.SetFourOrLess(i, sums.FourOrLess(i));
    __syncthreads();
    for (unsigned k = threadIdx.x; k < kept; k += kThreads) sums.SetResidual(indices[k], 0.0f);
  }
}

}  // namespace

cudaError_t EncodeTopK(cudaStream_t stream, const EncodedBlocks& blocks, std::size_t kept, std::size_t last_kept,
                       const float* values, float* residual, char* out) {
  if (blocks.blocks == 0) return cudaSuccess;
  auto* const kernel = residual != nullptr ? TopK<true> : TopK<false>;
  // More than 48 KB of shared memory must be asked for.
  if (const cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(sizeof(Shared)));
      error != cudaSuccess) {
    return error;
  }
  kernel<<<static_cast<unsigned>(blocks.blocks), kThreads, sizeof(Shared), stream>>>(
      blocks, static_cast<unsigned>(kept), static_cast<unsigned>(last_kept), values, residual,
      AlignedBlocks(blocks, values, residual), out);
  return cudaGetLastError();
}

}  // namespace leeway::cuda
