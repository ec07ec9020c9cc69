// One thread block has one block of the vector. The magnitude that is the `kept`-th greatest, the threshold, is found
// exactly, group of bits by group of bits, but among few values: a sample says above which magnitude some more than
// `kept` values lie (with an error of four standard deviations), and all of those, the candidates, are gathered in
// shared memory while the values are read once. Where the sample has erred (values that are not spread evenly, many
// zeros), or too many are wanted, all values are looked through instead.
#include <algorithm>
#include <cstdint>

#include "kernels/cuda/block_sums.h"
#include "kernels/cuda/encode_top_k.h"

namespace leeway::cuda {
namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarp;
// Of threads on a multiprocessor: room for what is in flight, in registers.
template <bool kResidual>
constexpr int kBlocks = kResidual ? 2 : 3;
constexpr unsigned kSample = 4096;  // values, 8 of each thread
constexpr unsigned kAll = 0xffffffffu, kNan = 0x7fc00000u;

struct Shared {
  unsigned counts[256];
  unsigned digit, above;
  unsigned next_chunk;
  unsigned candidates[kWarps], above_of[kWarps], ties_of[kWarps];
};

// How many of a sample of `sampled` of `size` values are to be at or above the least candidate. Of a whole block it is
// exact.
__host__ __device__ unsigned SampleRank(unsigned kept, unsigned size, unsigned sampled) {
  if (size == sampled) return kept;
  const float expected = static_cast<float>(kept) * (static_cast<float>(sampled) / static_cast<float>(size));
  const float rank = expected + 4 * sqrtf(expected) + 8;
  return rank < static_cast<float>(sampled) ? static_cast<unsigned>(rank) : sampled;
}

// Room for a block's candidates, in chunks of 32 that the warps take as they need them: values that crowd in one part
// of a block find as much as others.
constexpr unsigned kChunk = 32;
constexpr std::size_t ChunkBytes() {
  return kChunk * (sizeof(float) + sizeof(unsigned)) + kWarps * sizeof(std::uint16_t);
}

class Candidates {
 public:
  // `memory`: shared memory for `chunks` chunks.
  __device__ Candidates(void* memory, unsigned chunks, Shared& shared)
      : values_(static_cast<float*>(memory)),
        indices_(reinterpret_cast<unsigned*>(values_ + chunks * kChunk)),
        own_(reinterpret_cast<std::uint16_t*>(indices_ + chunks * kChunk) + threadIdx.x / kWarp * chunks),
        chunks_(chunks),
        shared_(shared) {}

  // How many this warp has met; more than were stored if there was no room.
  __device__ unsigned count() const { return count_; }
  __device__ float value(unsigned k) const { return values_[Slot(k)]; }
  __device__ unsigned index(unsigned k) const { return indices_[Slot(k)]; }

  // A warp's four values each from `index` on, those of at least `least`, in order of lanes. Mostly a warp finds some,
  // and no thread more than one.
  __device__ void Add(const float4& v, float least, unsigned index) {
    const bool x = fabsf(v.x) >= least, y = fabsf(v.y) >= least, z = fabsf(v.z) >= least, w = fabsf(v.w) >= least;
    const unsigned found = __ballot_sync(kAll, x || y || z || w);
    if (found == 0) return;
    const unsigned lower = (1u << threadIdx.x % kWarp) - 1;
    unsigned at = count_ + __popc(found & lower);
    count_ += __popc(found);
    if (!__any_sync(kAll, (x && y) || (z && w) || ((x || y) && (z || w)))) {
      TakeChunks();
      if (x || y || z || w) Store(at, x ? v.x : y ? v.y : z ? v.z : v.w, index + (x ? 0 : y ? 1 : z ? 2 : 3));
      return;
    }
    const unsigned mine = x + y + z + w;
    for (unsigned n = 2; n <= 4; ++n) {  // who has a second, a third, a fourth
      const unsigned more = __ballot_sync(kAll, mine >= n);
      at += __popc(more & lower);
      count_ += __popc(more);
    }
    TakeChunks();
    if (x) Store(at++, v.x, index);
    if (y) Store(at++, v.y, index + 1);
    if (z) Store(at++, v.z, index + 2);
    if (w) Store(at, v.w, index + 3);
  }

 private:
  __device__ unsigned Slot(unsigned k) const { return own_[k / kChunk] * kChunk + k % kChunk; }

  __device__ void Store(unsigned k, float value, unsigned index) {
    const unsigned chunk = k / kChunk;
    if (chunk >= chunks_) return;
    const unsigned own = own_[chunk];
    if (own >= chunks_) return;
    values_[own * kChunk + k % kChunk] = value;
    indices_[own * kChunk + k % kChunk] = index;
  }

  // So many that all that were met have a place.
  __device__ void TakeChunks() {
    const unsigned needed = min((count_ + kChunk - 1) / kChunk, chunks_);
    if (needed <= taken_) return;
    if (threadIdx.x % kWarp == 0) {
      const unsigned first = atomicAdd(&shared_.next_chunk, needed - taken_);
#pragma unroll 1
      for (unsigned c = taken_; c < needed; ++c) {
        own_[c] = static_cast<std::uint16_t>(min(first + (c - taken_), chunks_));
      }
    }
    taken_ = needed;
    __syncwarp();
  }

  float* const values_;
  unsigned* const indices_;
  std::uint16_t* const own_;  // this warp's chunks
  const unsigned chunks_;
  Shared& shared_;
  unsigned count_ = 0, taken_ = 0;
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

// A magnitude above which, or at which, some more than `kept` values lie, if the sample is like the whole.
template <typename Sums>
__device__ unsigned LeastCandidate(Shared& shared, const Sums& sums, unsigned kept) {
  const unsigned size = sums.size(), sampled = min(size, kSample);
  constexpr int kEach = kSample / kThreads;
  unsigned magnitudes[kEach];
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const unsigned at = threadIdx.x + k * kThreads;
    // Runs of 32 values, spread evenly.
    const unsigned i = size == sampled ? at : at / kWarp * (size / (kSample / kWarp)) + at % kWarp;
    magnitudes[k] = at < sampled ? Magnitude(sums.At(i)) : 0;
  }
  unsigned rank = SampleRank(kept, size, sampled);
  return NthGreatest(shared, rank, 15, [&](auto count) {
#pragma unroll
    for (int k = 0; k < kEach; ++k) {
      if (threadIdx.x + k * kThreads < sampled) count(magnitudes[k]);
    }
  });
}

// Where thread blocks come in turns they would keep in step, all sampling and all choosing at the same time, with the
// memory idle meanwhile. So of those that a multiprocessor begins with each begins later than the one before it, by
// about half the time that its values alone take to be read (4 bytes each at 22 GB/s, an H100's bandwidth by
// multiprocessors): best of what was tried, none and a whole among it.
template <bool kResidual>
__device__ void FallOutOfStep(unsigned size, unsigned multiprocessors, unsigned resident) {
  const unsigned before = blockIdx.x / multiprocessors;  // on the same one
  if (gridDim.x <= multiprocessors * resident || before >= resident) return;
  __nanosleep(before * (size / 11) * (kResidual ? 3 : 1));
}

// `chunks`: of candidates that there is room for; 0: none. `resident`: thread blocks at a time on a multiprocessor.
template <bool kResidual>
__global__ void __launch_bounds__(kThreads, kBlocks<kResidual>)
    TopK(EncodedBlocks blocks, unsigned most_kept, unsigned last_kept, unsigned chunks, unsigned multiprocessors,
         unsigned resident, const float* values, float* residual, bool aligned, char* out) {
  extern __shared__ uint4 memory[];
  __shared__ Shared shared;
  const BlockSums<kResidual> sums(blocks, blockIdx.x, values, residual, aligned);
  const unsigned size = sums.size();
  const unsigned kept = blocks.EndsVector(blockIdx.x) ? last_kept : most_kept;
  auto* const words = reinterpret_cast<unsigned*>(out + blockIdx.x * (4 + std::size_t{8} * most_kept));
  unsigned* const indices = words + 1;
  auto* const chosen = reinterpret_cast<float*>(indices + kept);
  if (threadIdx.x == 0) *words = kept, shared.next_chunk = 0;  // (read after barriers)
  if (kept == 0) return;
  FallOutOfStep<kResidual>(size, multiprocessors, resident);

  // Each warp has a stretch of the block, so that what it finds is in order.
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, lower = (1u << lane) - 1;
  constexpr unsigned kRow = kWarp * 4;
  const unsigned stretch = ((size - 1) / (kWarps * kRow) + 1) * kRow;
  const unsigned begin = min(size, warp * stretch), end = min(size, begin + stretch);

  // Zeros are no candidates: there may be too many.
  const unsigned least = chunks == 0 ? kAll : max(LeastCandidate(shared, sums, kept), 1u);
  __syncthreads();
  Candidates candidates(memory, chunks, shared);
  unsigned greatest = 0;
  const auto look = [&](const float4& v, unsigned index) {
    if constexpr (kResidual) {
      const unsigned most = max(max(Magnitude(v.x), Magnitude(v.y)), max(Magnitude(v.z), Magnitude(v.w)));
      greatest = max(greatest, most);
      sums.SetSums(index, v, most);
    }
    candidates.Add(v, __uint_as_float(least), index);
  };
  unsigned row = begin;
  if (aligned) {
    constexpr unsigned kRows = kResidual ? 2 : 4;  // in flight
    for (; row + kRows * kRow <= end; row += kRows * kRow) {
      float4 v[kRows];
#pragma unroll
      for (unsigned k = 0; k < kRows; ++k) v[k] = sums.Four(row + lane * 4, k * kRow);
#pragma unroll
      for (unsigned k = 0; k < kRows; ++k) look(v[k], row + k * kRow + lane * 4);
    }
  }
  for (; row < end; row += kRow) look(sums.FourOrLess(row + lane * 4), row + lane * 4);
  if (lane == 0) shared.candidates[warp] = candidates.count();
  greatest = BlockCombine<kThreads>(greatest, 0u, Greater());  // (its barriers are for what was written above, too)
  if (kResidual && TooGreat(greatest)) {
    for (unsigned i = begin + lane; i < end; i += kWarp) sums.TakeBack(i);
    for (unsigned k = threadIdx.x; k < kept; k += kThreads) {
      indices[k] = k;
      chosen[k] = k == 0 ? __uint_as_float(kNan) : 0.0f;
    }
    return;
  }

  unsigned total = 0, used = 0;
  for (int w = 0; w < kWarps; ++w) {
    total += shared.candidates[w];
    used += (shared.candidates[w] + kChunk - 1) / kChunk;
  }
  const bool all = used > chunks || total < kept;
  const unsigned count = all ? end - begin : candidates.count();  // that this warp looks through
  const auto value = [&](unsigned k) { return all ? sums.Sum(begin + k) : candidates.value(k); };

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
      const unsigned index = all ? begin + k : candidates.index(k);
      indices[at] = index;
      chosen[at] = v;
      if constexpr (kResidual) sums.SetResidual(index, 0.0f);
    }
    above_before += __popc(above_votes);
    ties_before += __popc(tie_votes);
  }
}

// Chunks for the candidates of a block of `size` values of which `kept` are kept: half as many again as are expected,
// and one per warp that it does not fill. 0 where `bytes` of shared memory do not hold them.
unsigned Chunks(unsigned kept, unsigned size, std::size_t bytes) {
  const unsigned sampled = std::min(size, kSample);
  const double expected = static_cast<double>(SampleRank(kept, size, sampled)) / sampled * size;
  const auto chunks = static_cast<std::size_t>(1.5 * expected / kChunk) + kWarps + 1;
  return chunks * ChunkBytes() <= bytes ? static_cast<unsigned>(chunks) : 0;
}

}  // namespace

cudaError_t EncodeTopK(cudaStream_t stream, const EncodedBlocks& blocks, std::size_t kept, std::size_t last_kept,
                       const float* values, float* residual, char* out) {
  if (blocks.blocks == 0) return cudaSuccess;
  int device = 0, most = 0, multiprocessors = 0, resident = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  if (const cudaError_t error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
      error != cudaSuccess) {
    return error;
  }
  if (const cudaError_t error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
      error != cudaSuccess) {
    return error;
  }
  constexpr std::size_t kStatic = 2 * sizeof(Shared);  // and what sums over a block need
  const auto size = static_cast<unsigned>(std::min(blocks.block, blocks.count));
  const std::size_t room = static_cast<std::size_t>(most) - kStatic;
  const unsigned chunks = Chunks(static_cast<unsigned>(kept), size, room);
  const std::size_t bytes = chunks * ChunkBytes();
  auto* const kernel = residual != nullptr ? TopK<true> : TopK<false>;
  // More than 48 KB of shared memory must be asked for. Always the same: other threads launch this kernel, too, and a
  // limit below what one of them needs would fail its launch.
  if (const cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(room));
      error != cudaSuccess) {
    return error;
  }
  if (const cudaError_t error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kThreads, bytes);
      error != cudaSuccess) {
    return error;
  }
  kernel<<<static_cast<unsigned>(blocks.blocks), kThreads, bytes, stream>>>(
      blocks, static_cast<unsigned>(kept), static_cast<unsigned>(last_kept), chunks,
      static_cast<unsigned>(multiprocessors), static_cast<unsigned>(resident), values, residual,
      AlignedBlocks(blocks, values, residual), out);
  return cudaGetLastError();
}

}  // namespace leeway::cuda
