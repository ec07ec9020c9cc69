#include "kernels/reference/reference.h"

#include <cmath>
#include <functional>

namespace leeway::reference {
namespace {

std::size_t Index(std::int64_t i) { return static_cast<std::size_t>(i); }

double Relu(double x) { return x <= 0 ? 0 : x; }

// Calls `term`(y index, x index, w index) for each product of which a convolution is the sum.
void ForEachTerm(const ImageShape& shape, std::int64_t out_channels,
                 const std::function<void(std::size_t, std::size_t, std::size_t)>& term) {
  for (std::int64_t y_pixel = 0; y_pixel < shape.pixels(); ++y_pixel) {
    const std::int64_t i = y_pixel / shape.width % shape.height, j = y_pixel % shape.width;
    for (std::int64_t k = 0; k < 9; ++k) {
      const std::int64_t u = k / 3 - 1, v = k % 3 - 1;
      if (i + u < 0 || i + u >= shape.height || j + v < 0 || j + v >= shape.width) continue;
      const std::int64_t x_pixel = y_pixel + u * shape.width + v;
      for (std::int64_t o = 0; o < out_channels; ++o) {
        for (std::int64_t c = 0; c < shape.channels; ++c) {
          term(Index(y_pixel * out_channels + o), Index(x_pixel * shape.channels + c),
               Index((o * shape.channels + c) * 9 + k));
        }
      }
    }
  }
}

// The indices in x of the four candidates of each pooling window, in the order of y.
std::vector<std::vector<std::size_t>> Windows(const ImageShape& shape) {
  std::vector<std::vector<std::size_t>> windows;
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t i = 0; i < shape.height / 2; ++i) {
      for (std::int64_t j = 0; j < shape.width / 2; ++j) {
        for (std::int64_t c = 0; c < shape.channels; ++c) {
          const auto at = [&](std::int64_t row, std::int64_t column) {
            return Index(((b * shape.height + 2 * i + row) * shape.width + 2 * j + column) * shape.channels + c);
          };
          windows.push_back({at(0, 0), at(0, 1), at(1, 0), at(1, 1)});
        }
      }
    }
  }
  return windows;
}

}  // namespace

Values LinearForward(const LinearShape& shape, const Values& x, const Values& w, const Values& bias,
                     Activation activation) {
  Values y(Index(shape.batch * shape.out));
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t o = 0; o < shape.out; ++o) {
      double sum = bias[Index(o)];
      for (std::int64_t i = 0; i < shape.in; ++i) sum += x[Index(b * shape.in + i)] * w[Index(o * shape.in + i)];
      y[Index(b * shape.out + o)] = activation == Activation::kRelu ? Relu(sum) : sum;
    }
  }
  return y;
}

Values LinearBackwardData(const LinearShape& shape, const Values& dy, const Values& w) {
  Values dx(Index(shape.batch * shape.in));
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t o = 0; o < shape.out; ++o) {
      for (std::int64_t i = 0; i < shape.in; ++i) {
        dx[Index(b * shape.in + i)] += dy[Index(b * shape.out + o)] * w[Index(o * shape.in + i)];
      }
    }
  }
  return dx;
}

WeightGradients LinearBackwardWeights(const LinearShape& shape, const Values& x, const Values& dy) {
  WeightGradients gradients{Values(Index(shape.out * shape.in)), Values(Index(shape.out))};
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t o = 0; o < shape.out; ++o) {
      const double d = dy[Index(b * shape.out + o)];
      gradients.dbias[Index(o)] += d;
      for (std::int64_t i = 0; i < shape.in; ++i) {
        gradients.dw[Index(o * shape.in + i)] += d * x[Index(b * shape.in + i)];
      }
    }
  }
  return gradients;
}

Values Conv3x3Forward(const ImageShape& shape, std::int64_t out_channels, const Values& x, const Values& w,
                      const Values& bias) {
  Values y(Index(shape.pixels() * out_channels));
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = bias[i % Index(out_channels)];
  ForEachTerm(shape, out_channels, [&](std::size_t yi, std::size_t xi, std::size_t wi) { y[yi] += x[xi] * w[wi]; });
  return y;
}

Values Conv3x3BackwardData(const ImageShape& shape, std::int64_t out_channels, const Values& dy, const Values& w) {
  Values dx(Index(shape.elements()));
  ForEachTerm(shape, out_channels, [&](std::size_t yi, std::size_t xi, std::size_t wi) { dx[xi] += dy[yi] * w[wi]; });
  return dx;
}

WeightGradients Conv3x3BackwardWeights(const ImageShape& shape, std::int64_t out_channels, const Values& x,
                                       const Values& dy) {
  WeightGradients gradients{Values(Index(out_channels * shape.channels * 9)), Values(Index(out_channels))};
  for (std::size_t i = 0; i < dy.size(); ++i) gradients.dbias[i % Index(out_channels)] += dy[i];
  ForEachTerm(shape, out_channels,
              [&](std::size_t yi, std::size_t xi, std::size_t wi) { gradients.dw[wi] += dy[yi] * x[xi]; });
  return gradients;
}

Values ReluForward(const Values& x) {
  Values y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = Relu(x[i]);
  return y;
}

Values ReluBackward(const Values& y, const Values& dy) {
  Values dx(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) dx[i] = y[i] > 0 ? dy[i] : 0;
  return dx;
}

Pooled MaxPoolForward(const ImageShape& shape, const Values& x, Activation activation) {
  constexpr std::int32_t kCutOff = 4;
  Pooled pooled;
  for (const std::vector<std::size_t>& window : Windows(shape)) {
    double best = x[window[0]];
    std::int32_t which = 0;
    for (std::int32_t k = 1; k < 4; ++k) {
      const double value = x[window[Index(k)]];
      if (!(value > best || std::isnan(value))) continue;
      best = value;
      which = k;
    }
    const bool cut = activation == Activation::kRelu && best <= 0;
    pooled.y.push_back(cut ? 0 : best);
    pooled.choice.push_back(cut ? kCutOff : which);
  }
  return pooled;
}

Values MaxPoolBackward(const ImageShape& shape, const Values& dy, const std::vector<std::int32_t>& choice) {
  Values dx(Index(shape.elements()));
  const std::vector<std::vector<std::size_t>> windows = Windows(shape);
  for (std::size_t y = 0; y < windows.size(); ++y) {
    if (choice[y] < 4) dx[windows[y][Index(choice[y])]] = dy[y];
  }
  return dx;
}

Loss SoftmaxCrossEntropy(std::int64_t batch, std::int64_t classes, const Values& logits,
                         const std::vector<std::int32_t>& labels, double scale) {
  Loss loss;
  for (std::int64_t row = 0; row < batch; ++row) {
    const double* z = &logits[Index(row * classes)];
    const std::int64_t label = labels[Index(row)];
    std::int64_t top = 0;
    for (std::int64_t c = 1; c < classes; ++c) top = z[c] > z[top] ? c : top;
    double total = 0;
    for (std::int64_t c = 0; c < classes; ++c) total += std::exp(z[c] - z[top]);
    loss.loss_sum += std::log(total) - (z[label] - z[top]);
    loss.correct += top == label;
    for (std::int64_t c = 0; c < classes; ++c) {
      loss.dlogits.push_back(scale * (std::exp(z[c] - z[top]) / total - (c == label)));
    }
  }
  return loss;
}

}  // namespace leeway::reference
