// Tiles of 64 x 64 bfloat16 in shared memory, and products of them on the matrix units (mma.sync m16n8k16). A warp
// computes 16 rows of a product.
//
// Names as in PTX: a thread's lane is 4 * group + member. It holds of a 16 x 8 accumulator the elements [group][2 *
// member, + 1] and [group + 8][2 * member, + 1], in this order.
//
// For nvcc only. Thread safety: none needed.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/vectors.h"

namespace leeway::cuda {

inline constexpr int kTile = 64;                // rows and columns of a tile
inline constexpr int kTileThreads = 128;        // 4 warps, each with 16 rows
inline constexpr int kSteps = kTile / 16;       // pieces of a product's inner dimension
inline constexpr int kColumnTiles = kTile / 8;  // accumulators of a warp's 16 rows

// Where element [row][column] of a tile lies: pieces of 8 elements are permuted within their row, so that the eight
// rows which a matrix load reads at a time lie in different banks.
__device__ inline int TileIndex(int row, int column) {
  return row * kTile + (((column >> 3) ^ (row & 7)) << 3) + (column & 7);
}

__device__ inline std::uint32_t SharedAddress(const Bf16* x) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(x));
}

// Begins to copy rows [first, first + 64) of a matrix with `columns` columns (a multiple of 8, at most 64) and `stride`
// elements between its rows into a tile; rows at or beyond `length`, and columns that are not there, become 0.
__device__ inline void StartTile(const Bf16* matrix, std::int64_t stride, std::int64_t first, std::int64_t length,
                                 int columns, Bf16* tile) {
#pragma unroll
  for (int i = 0; i < kTile * kTile / 8 / kTileThreads; ++i) {
    const int piece = i * kTileThreads + static_cast<int>(threadIdx.x);
    const int row = piece / 8, column = piece % 8 * 8;
    const bool inside = first + row < length && column < columns;
    const Bf16* const from = matrix + (inside ? (first + row) * stride + column : 0);
    const int bytes = inside ? 16 : 0;  // what is not read is filled with zeros
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(tile + TileIndex(row, column))),
                 "l"(from), "r"(bytes));
  }
}
__device__ inline void CommitTiles() { asm volatile("cp.async.commit_group;"); }
// Waits until all but the last kPending committed groups of this thread have arrived.
template <int kPending>
__device__ void WaitTiles() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending));
}

struct RowFragment {  // 16 rows x 16 of the inner dimension: the left factor
  std::uint32_t r[4];
};
struct ColumnFragments {  // 16 of the inner dimension x 16 columns: two right factors, r[0..1] and r[2..3]
  std::uint32_t r[4];
};

__device__ inline void LoadMatrices(const Bf16* at, std::uint32_t (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(at)));
}
__device__ inline void LoadMatricesTransposed(const Bf16* at, std::uint32_t (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(at)));
}

// Rows [row, row + 16) of the tile, its columns [16 * step, + 16) as the inner dimension.
__device__ inline RowFragment LoadRows(const Bf16* tile, int row, int step) {
  const int lane = threadIdx.x % 32;
  RowFragment fragment;
  LoadMatrices(tile + TileIndex(row + (lane & 15), step * 16 + (lane >> 4) * 8), fragment.r);
  return fragment;
}
// The tile's transpose as the right factor: columns of the product are the tile's rows [16 * pair, + 16), the inner
// dimension its columns [16 * step, + 16).
__device__ inline ColumnFragments LoadTransposed(const Bf16* tile, int pair, int step) {
  const int lane = threadIdx.x % 32;
  ColumnFragments fragments;
  LoadMatrices(tile + TileIndex(pair * 16 + (lane >> 4) * 8 + (lane & 7), step * 16 + ((lane >> 3) & 1) * 8),
               fragments.r);
  return fragments;
}
// The tile itself as the right factor: columns of the product are the tile's columns [16 * pair, + 16), the inner
// dimension its rows [16 * step, + 16).
__device__ inline ColumnFragments LoadPlain(const Bf16* tile, int pair, int step) {
  const int lane = threadIdx.x % 32;
  ColumnFragments fragments;
  LoadMatricesTransposed(tile + TileIndex(step * 16 + ((lane >> 3) & 1) * 8 + (lane & 7), pair * 16 + (lane >> 4) * 8),
                         fragments.r);
  return fragments;
}

using Accumulators = float[kColumnTiles][4];

__device__ inline void MultiplyAdd(const RowFragment& a, std::uint32_t b0, std::uint32_t b1, float (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
}

// sum += rows * transpose of the tile.
__device__ inline void MultiplyTransposed(const RowFragment (&rows)[kSteps], const Bf16* tile, Accumulators& sum) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
      const ColumnFragments columns = LoadTransposed(tile, pair, step);
      MultiplyAdd(rows[step], columns.r[0], columns.r[1], sum[2 * pair]);
      MultiplyAdd(rows[step], columns.r[2], columns.r[3], sum[2 * pair + 1]);
    }
  }
}
// sum += factor * tile, where `factor` holds accumulators, rounded to bfloat16.
__device__ inline void MultiplyPlain(const Accumulators& factor, const Bf16* tile, Accumulators& sum) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const float(&left)[4] = factor[2 * step];
    const float(&right)[4] = factor[2 * step + 1];
    const RowFragment rows{
        {Pack(left[0], left[1]), Pack(left[2], left[3]), Pack(right[0], right[1]), Pack(right[2], right[3])}};
#pragma unroll
    for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
      const ColumnFragments columns = LoadPlain(tile, pair, step);
      MultiplyAdd(rows, columns.r[0], columns.r[1], sum[2 * pair]);
      MultiplyAdd(rows, columns.r[2], columns.r[3], sum[2 * pair + 1]);
    }
  }
}

// Writes a warp's 16 rows of a product, times `low` (the rows of group) and `high` (those 8 further down), to rows
// first + group and first + group + 8 of a matrix with `columns` columns; rows at or beyond `length` are left out.
__device__ inline void StoreRows(const Accumulators& values, float low, float high, std::int64_t first,
                                 std::int64_t length, int columns, std::int64_t stride, Bf16* matrix) {
  const int lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t row = first + group + 8 * half;
    if (row >= length) continue;
    const float factor = half == 0 ? low : high;
#pragma unroll
    for (int tile = 0; tile < kColumnTiles; ++tile) {
      if (tile * 8 >= columns) break;
      *reinterpret_cast<std::uint32_t*>(matrix + row * stride + tile * 8 + member * 2) =
          Pack(values[tile][2 * half] * factor, values[tile][2 * half + 1] * factor);
    }
  }
}

}  // namespace leeway::cuda
