#include "kernels/reference/transformer.h"

#include <algorithm>
#include <cmath>

namespace leeway::reference {
namespace {

constexpr double kEpsilon = 1e-5;

std::size_t Index(std::int64_t i) { return static_cast<std::size_t>(i); }

// Where the vectors of attention lie in qkv and y, and its scores.
class Heads {
 public:
  Heads(const AttentionShape& shape, const Values& qkv) : shape_(shape), qkv_(qkv) {}

  // part: 0 query, 1 key, 2 value.
  std::size_t In(int part, std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d) const {
    return Index((((b * shape_.length + t) * 3 + part) * shape_.heads + h) * shape_.head_size + d);
  }
  std::size_t Out(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d) const {
    return Index(((b * shape_.length + t) * shape_.heads + h) * shape_.head_size + d);
  }
  std::size_t Row(std::int64_t b, std::int64_t t, std::int64_t h) const {
    return Index((b * shape_.heads + h) * shape_.length + t);
  }
  double scale() const { return 1 / std::sqrt(static_cast<double>(shape_.head_size)); }
  double Score(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
    double sum = 0;
    for (std::int64_t d = 0; d < shape_.head_size; ++d) sum += qkv_[In(0, b, i, h, d)] * qkv_[In(1, b, j, h, d)];
    return sum * scale();
  }

 private:
  const AttentionShape shape_;
  const Values& qkv_;
};

}  // namespace

Values EmbeddingForward(const EmbeddingShape& shape, const std::vector<std::int32_t>& tokens, const Values& wte,
                        const Values& wpe) {
  Values y;
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    for (std::size_t i = 0; i < Index(shape.width); ++i) {
      y.push_back(wte[Index(tokens[row] * shape.width) + i] + wpe[row % Index(shape.length) * Index(shape.width) + i]);
    }
  }
  return y;
}

EmbeddingGradients EmbeddingBackward(const EmbeddingShape& shape, const std::vector<std::int32_t>& tokens,
                                     const Values& dy) {
  EmbeddingGradients gradients{Values(Index(shape.vocabulary * shape.width)),
                               Values(Index(shape.length * shape.width))};
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    for (std::size_t i = 0; i < Index(shape.width); ++i) {
      const double d = dy[row * Index(shape.width) + i];
      gradients.dwte[Index(tokens[row] * shape.width) + i] += d;
      gradients.dwpe[row % Index(shape.length) * Index(shape.width) + i] += d;
    }
  }
  return gradients;
}

Normalized LayerNormForward(const NormShape& shape, const Values& x, const Values& gain, const Values& bias) {
  Normalized result;
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const double* const v = &x[Index(row * shape.width)];
    double mean = 0, variance = 0;
    for (std::int64_t i = 0; i < shape.width; ++i) mean += v[i];
    mean /= static_cast<double>(shape.width);
    for (std::int64_t i = 0; i < shape.width; ++i) variance += (v[i] - mean) * (v[i] - mean);
    variance /= static_cast<double>(shape.width);
    const double rstd = 1 / std::sqrt(variance + kEpsilon);
    result.mean.push_back(mean);
    result.rstd.push_back(rstd);
    for (std::int64_t i = 0; i < shape.width; ++i) {
      result.y.push_back((v[i] - mean) * rstd * gain[Index(i)] + bias[Index(i)]);
    }
  }
  return result;
}

NormGradients LayerNormBackward(const NormShape& shape, const Values& x, const Values& gain, const Values& dy) {
  NormGradients gradients{{}, Values(Index(shape.width)), Values(Index(shape.width))};
  const Normalized forward = LayerNormForward(shape, x, gain, Values(Index(shape.width)));
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const double* const v = &x[Index(row * shape.width)];
    const double* const d = &dy[Index(row * shape.width)];
    const double rstd = forward.rstd[Index(row)];
    const auto normal = [&](std::int64_t i) { return (v[i] - forward.mean[Index(row)]) * rstd; };
    double mean_g = 0, mean_gn = 0;
    for (std::int64_t i = 0; i < shape.width; ++i) {
      mean_g += d[i] * gain[Index(i)] / static_cast<double>(shape.width);
      mean_gn += d[i] * gain[Index(i)] * normal(i) / static_cast<double>(shape.width);
      gradients.dgain[Index(i)] += d[i] * normal(i);
      gradients.dbias[Index(i)] += d[i];
    }
    for (std::int64_t i = 0; i < shape.width; ++i) {
      gradients.dx.push_back(rstd * (d[i] * gain[Index(i)] - mean_g - normal(i) * mean_gn));
    }
  }
  return gradients;
}

Values GeluForward(const Values& x) {
  Values y;
  for (const double v : x) y.push_back(v / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))));
  return y;
}

Values GeluBackward(const Values& x, const Values& dy) {
  Values dx;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = x[i], factor = std::sqrt(2 / M_PI);
    const double tanh = std::tanh(factor * (v + 0.044715 * v * v * v));
    dx.push_back(dy[i] * ((1 + tanh) / 2 + v / 2 * (1 - tanh * tanh) * factor * (1 + 3 * 0.044715 * v * v)));
  }
  return dx;
}

Attended AttentionForward(const AttentionShape& shape, const Values& qkv) {
  const Heads heads(shape, qkv);
  Attended result{Values(Index(shape.batch * shape.length * shape.width())),
                  Values(Index(shape.batch * shape.heads * shape.length))};
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      for (std::int64_t i = 0; i < shape.length; ++i) {
        double largest = heads.Score(b, h, i, 0), sum = 0;
        for (std::int64_t j = 1; j <= i; ++j) largest = std::max(largest, heads.Score(b, h, i, j));
        for (std::int64_t j = 0; j <= i; ++j) sum += std::exp(heads.Score(b, h, i, j) - largest);
        const double lse = largest + std::log(sum);
        result.lse[heads.Row(b, i, h)] = lse;
        for (std::int64_t j = 0; j <= i; ++j) {
          const double p = std::exp(heads.Score(b, h, i, j) - lse);
          for (std::int64_t d = 0; d < shape.head_size; ++d) {
            result.y[heads.Out(b, i, h, d)] += p * qkv[heads.In(2, b, j, h, d)];
          }
        }
      }
    }
  }
  return result;
}

Values AttentionBackward(const AttentionShape& shape, const Values& qkv, const Values& dy) {
  const Heads heads(shape, qkv);
  const Attended forward = AttentionForward(shape, qkv);
  Values dqkv(qkv.size());
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      for (std::int64_t i = 0; i < shape.length; ++i) {
        double row = 0;
        for (std::int64_t d = 0; d < shape.head_size; ++d) {
          row += dy[heads.Out(b, i, h, d)] * forward.y[heads.Out(b, i, h, d)];
        }
        for (std::int64_t j = 0; j <= i; ++j) {
          const double p = std::exp(heads.Score(b, h, i, j) - forward.lse[heads.Row(b, i, h)]);
          double dp = 0;
          for (std::int64_t d = 0; d < shape.head_size; ++d) {
            dp += dy[heads.Out(b, i, h, d)] * qkv[heads.In(2, b, j, h, d)];
          }
          const double ds = p * (dp - row) * heads.scale();
          for (std::int64_t d = 0; d < shape.head_size; ++d) {
            dqkv[heads.In(0, b, i, h, d)] += ds * qkv[heads.In(1, b, j, h, d)];
            dqkv[heads.In(1, b, j, h, d)] += ds * qkv[heads.In(0, b, i, h, d)];
            dqkv[heads.In(2, b, j, h, d)] += p * dy[heads.Out(b, i, h, d)];
          }
        }
      }
    }
  }
  return dqkv;
}

Loss PaddedSoftmaxCrossEntropy(const LogitsShape& shape, const Values& logits, const std::vector<std::int32_t>& labels,
                               double scale) {
  Values meant;
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    const auto first = logits.begin() + row * shape.columns;
    meant.insert(meant.end(), first, first + shape.classes);
  }
  Loss loss = SoftmaxCrossEntropy(shape.rows, shape.classes, meant, labels, scale);
  Values padded(logits.size());
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    std::copy_n(loss.dlogits.begin() + row * shape.classes, shape.classes, padded.begin() + row * shape.columns);
  }
  loss.dlogits = std::move(padded);
  return loss;
}

}  // namespace leeway::reference
