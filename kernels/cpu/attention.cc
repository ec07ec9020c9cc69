#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cmath>

#include "dnnl.hpp"
#include "kernels/cpu/exp_loops.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/loops.h"
#include "kernels/target_clones.h"

namespace leeway {
namespace {

// Rows of queries at a time: enough for a product to run at full speed, few enough that their scores stay in the cache.
constexpr std::int64_t kBlock = 64;

// A matrix, row by row; `stride` is from row to row.
struct Matrix {
  const float* data;
  std::int64_t stride;
};

enum class Transpose : char { kNo = 'N', kYes = 'T' };

// out[rows,columns] (+)= a b, each transposed if it says so; `inner` is the length of the sums.
void Multiply(std::int64_t rows, std::int64_t columns, std::int64_t inner, Matrix a, Transpose ta, Matrix b,
              Transpose tb, Write write, float* out, std::int64_t out_stride) {
  const dnnl::status status =
      dnnl::sgemm(static_cast<char>(ta), static_cast<char>(tb), rows, columns, inner, 1.0f, a.data, a.stride, b.data,
                  b.stride, write == Write::kAdd ? 1.0f : 0.0f, out, out_stride);
  if (status != dnnl::status::success) throw dnnl::error(static_cast<dnnl_status_t>(status), "sgemm failed");
}

// ds = p * (dp - d) * scale, into dp.
LEEWAY_TARGET_CLONES void ScoreGradients(std::int64_t count, const float* p, float d, float scale, float* dp) {
  for (std::int64_t i = 0; i < count; ++i) dp[i] = p[i] * (dp[i] - d) * scale;
}

LEEWAY_TARGET_CLONES float Dot(std::int64_t count, const float* a, const float* b) {
  return loops::LaneSum(count, [=](std::int64_t i) { return a[i] * b[i]; });
}

// One head of one sequence: where its parts lie.
struct Head {
  Head(const AttentionShape& shape, std::int64_t batch, std::int64_t head)
      : size(shape.head_size),
        width(shape.width()),
        in_stride(3 * width),
        in(batch * shape.length * in_stride + head * size),
        out(batch * shape.length * width + head * size),
        row((batch * shape.heads + head) * shape.length),
        scale(1.0f / std::sqrt(static_cast<float>(size))) {}

  std::int64_t size, width;
  std::int64_t in_stride;  // of qkv
  std::int64_t in, out;    // its first query in qkv, its first row in y
  std::int64_t row;        // its first row in lse
  float scale;
};

void Forward(const AttentionShape& shape, const Head& head, const float* qkv, float* y, float* lse, float* scores) {
  const float* const q = qkv + head.in;
  const float *const k = q + head.width, *const v = k + head.width;
  for (std::int64_t first = 0; first < shape.length; first += kBlock) {
    const std::int64_t rows = std::min(kBlock, shape.length - first), keys = first + rows;
    Multiply(rows, keys, head.size, {q + first * head.in_stride, head.in_stride}, Transpose::kNo, {k, head.in_stride},
             Transpose::kYes, Write::kOverwrite, scores, keys);
    float sums[kBlock];
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t seen = first + i + 1;
      float* const s = scores + i * keys;
      const float largest = head.scale * loops::Max(seen, s);
      const double sum = loops::ExpSum(seen, head.scale, largest, s, s);
      std::fill(s + seen, s + keys, 0.0f);
      sums[i] = static_cast<float>(sum);
      lse[head.row + first + i] = largest + static_cast<float>(std::log(sum));
    }
    float* const out = y + head.out + first * head.width;
    Multiply(rows, head.size, keys, {scores, keys}, Transpose::kNo, {v, head.in_stride}, Transpose::kNo,
             Write::kOverwrite, out, head.width);
    for (std::int64_t i = 0; i < rows; ++i)
      loops::Scale(static_cast<std::size_t>(head.size), 1.0f / sums[i], out + i * head.width);
  }
}

void Backward(const AttentionShape& shape, const Head& head, const float* qkv, const float* y, const float* lse,
              const float* dy, float* dqkv, float* p, float* ds) {
  const float* const q = qkv + head.in;
  const float *const k = q + head.width, *const v = k + head.width;
  float* const dq = dqkv + head.in;
  float *const dk = dq + head.width, *const dv = dk + head.width;
  const std::int64_t stride = head.in_stride;
  // From the last block, which sees every key and so writes all of dk and dv, to the first; each adds to what is there.
  Write write = Write::kOverwrite;
  for (std::int64_t first = (shape.length - 1) / kBlock * kBlock; first >= 0; first -= kBlock) {
    const std::int64_t rows = std::min(kBlock, shape.length - first), keys = first + rows;
    const Matrix queries{q + first * stride, stride}, dy_block{dy + head.out + first * head.width, head.width};
    Multiply(rows, keys, head.size, queries, Transpose::kNo, {k, stride}, Transpose::kYes, Write::kOverwrite, p, keys);
    Multiply(rows, keys, head.size, dy_block, Transpose::kNo, {v, stride}, Transpose::kYes, Write::kOverwrite, ds,
             keys);
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int64_t seen = first + i + 1, at = head.out + (first + i) * head.width;
      float *const p_row = p + i * keys, *const ds_row = ds + i * keys;
      loops::ExpSum(seen, head.scale, lse[head.row + first + i], p_row, p_row);
      ScoreGradients(seen, p_row, Dot(head.size, dy + at, y + at), head.scale, ds_row);
      std::fill(p_row + seen, p_row + keys, 0.0f);
      std::fill(ds_row + seen, ds_row + keys, 0.0f);
    }
    Multiply(rows, head.size, keys, {ds, keys}, Transpose::kNo, {k, stride}, Transpose::kNo, Write::kOverwrite,
             dq + first * stride, stride);
    Multiply(keys, head.size, rows, {ds, keys}, Transpose::kYes, queries, Transpose::kNo, write, dk, stride);
    Multiply(keys, head.size, rows, {p, keys}, Transpose::kYes, dy_block, Transpose::kNo, write, dv, stride);
    write = Write::kAdd;
  }
}

std::int64_t ScoresOfBlock(const AttentionShape& shape) { return std::min(kBlock, shape.length) * shape.length; }

}  // namespace

std::size_t CpuAttentionScratch(const AttentionShape& shape) {
  return 2 * static_cast<std::size_t>(ScoresOfBlock(shape));
}

void CpuAttentionForward(const AttentionShape& shape, const float* qkv, float* y, float* lse, float* scratch) {
  for (std::int64_t batch = 0; batch < shape.batch; ++batch) {
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      Forward(shape, Head(shape, batch, head), qkv, y, lse, scratch);
    }
  }
}

void CpuAttentionBackward(const AttentionShape& shape, const float* qkv, const float* y, const float* lse,
                          const float* dy, float* dqkv, float* scratch) {
  for (std::int64_t batch = 0; batch < shape.batch; ++batch) {
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      Backward(shape, Head(shape, batch, head), qkv, y, lse, dy, dqkv, scratch, scratch + ScoresOfBlock(shape));
    }
  }
}

}  // namespace leeway
