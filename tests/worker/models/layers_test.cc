// Each layer's gradients against central differences of its own forward pass.
#include <algorithm>
#include <functional>

#include "tests/kernels/device_fixture.h"
#include "worker/models/conv.h"
#include "worker/models/linear.h"
#include "worker/models/pool.h"

namespace leeway {
namespace {

// Numbers in (-1, 1), no two nearer than 2 / count, none nearer to 0 than 1 / count: a small step makes no other the
// largest of a pooling window.
Floats DistinctFloats(std::int64_t count) {
  Floats values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back((2 * static_cast<float>(i) + 1) / count - 1);
  std::shuffle(values.begin(), values.end(), std::mt19937(1));
  return values;
}

// A layer with its memory; y is weighed by fixed numbers `dy`, and the sum is what is differentiated.
class LayerUnderTest {
 public:
  LayerUnderTest(const std::string& what, std::unique_ptr<Layer> layer, const Shape& input, std::int64_t batch)
      : what_(what), layer_(std::move(layer)), batch_(batch), x_(DistinctFloats(batch * input.elements())) {
    REQUIRE(layer_->Prepare(device_.backend(), batch_ + 1).ok());
    dy_ = RandomFloats(batch * layer_->output().elements(), 2);
    for (const v1::TensorSpec& spec : layer_->tensors()) {
      std::int64_t count = 1;
      for (const std::int64_t dimension : spec.shape()) count *= dimension;
      weights_.push_back(RandomFloats(count, static_cast<std::uint32_t>(3 + weights_.size())));
    }
  }

  void CheckGradients() {
    Backward(true);
    const std::vector<Floats> gradients = gradients_;
    CheckGradient("x", x_, dx_);
    for (std::size_t i = 0; i < weights_.size(); ++i) CheckGradient("tensor", weights_[i], gradients[i]);
    CheckAccumulation(gradients);
  }

  // As the first layer of a model it is not asked for dx; its gradients are the same.
  void CheckWithoutDx() {
    Backward(true);
    const std::vector<Floats> gradients = gradients_;
    Backward(false);
    CHECK(gradients_ == gradients);
  }

 private:
  struct Memory {
    DeviceMemory x, y;
    std::vector<DeviceMemory> tensors;
    std::vector<DevicePtr<const float>> weights;
  };

  Memory Forward() {
    Memory memory{device_.Upload(x_), device_.Garbage(static_cast<std::int64_t>(dy_.size())), {}, {}};
    for (const Floats& values : weights_) {
      memory.tensors.push_back(device_.Upload(values));
      memory.weights.push_back(memory.tensors.back().floats());
    }
    layer_->Forward({device_.stream(), batch_, memory.weights, memory.x.floats(), memory.y.floats()});
    return memory;
  }

  double Sum() {
    const Memory memory = Forward();
    const Floats y = device_.Download(memory.y);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(dy_[i]) * y[i];
    return sum;
  }

  // `start` empty: overwrite garbage; else add to it.
  void Backward(bool with_dx, const std::vector<Floats>& start = {}) {
    const Memory memory = Forward();
    const DeviceMemory dy = device_.Upload(dy_), dx = device_.Garbage(static_cast<std::int64_t>(x_.size()));
    std::vector<DeviceMemory> held;
    std::vector<DevicePtr<float>> gradients;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      held.push_back(start.empty() ? device_.Garbage(static_cast<std::int64_t>(weights_[i].size()))
                                   : device_.Upload(start[i]));
      gradients.push_back(held.back().floats());
    }
    int ready = 0;
    std::vector<Floats> at_ready;
    const std::function<void()> gradients_ready = [&] {
      ++ready;
      for (const DeviceMemory& gradient : held) at_ready.push_back(device_.Download(gradient));
    };
    layer_->Backward({device_.stream(), batch_, memory.weights, gradients,
                      start.empty() ? Write::kOverwrite : Write::kAdd, memory.x.floats(), memory.y.floats(),
                      dy.floats(), with_dx ? dx.floats() : DevicePtr<float>(), gradients_ready});
    INFO(what_);
    CHECK(ready == 1);
    gradients_.clear();
    for (const DeviceMemory& gradient : held) gradients_.push_back(device_.Download(gradient));
    CHECK(at_ready == gradients_);
    dx_ = device_.Download(dx);
  }

  void CheckGradient(const std::string& of, Floats& variable, const Floats& gradient) {
    // The layers are piecewise linear: any step is exact that crosses no kink. This one loses 2^-24 / step of the sum.
    constexpr float kStep = 1.0f / 512;
    REQUIRE(gradient.size() == variable.size());
    for (std::size_t i = 0; i < variable.size(); ++i) {
      const float center = variable[i];
      variable[i] = center + kStep;
      const double above = Sum();
      variable[i] = center - kStep;
      const double below = Sum();
      variable[i] = center;
      INFO(what_ << ", gradient of " << of << ", element " << i);
      REQUIRE(gradient[i] == Approx((above - below) / (2 * kStep)).epsilon(1e-3).margin(1e-3));
    }
  }

  void CheckAccumulation(const std::vector<Floats>& gradients) {
    if (weights_.empty()) return;
    Backward(true, gradients);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      for (std::size_t k = 0; k < gradients[i].size(); ++k) {
        REQUIRE(gradients_[i][k] == Approx(2 * gradients[i][k]).epsilon(1e-5).margin(1e-5));
      }
    }
  }

  const std::string what_;
  DeviceFixture device_;
  const std::unique_ptr<Layer> layer_;
  const std::int64_t batch_;
  Floats x_, dy_, dx_;
  std::vector<Floats> weights_, gradients_;
};

TEST_CASE("linear layer: gradients") {
  for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
    const Shape input{1, 1, 9};
    LayerUnderTest layer("linear", MakeLinear(input, 7, activation), input, 3);
    layer.CheckGradients();
    layer.CheckWithoutDx();
  }
}

TEST_CASE("linear layer: an image is flattened") {
  const Shape input{2, 3, 5};
  const std::unique_ptr<Layer> layer = MakeLinear(input, 4, Activation::kNone);
  REQUIRE(layer->tensors().size() == 2);
  CHECK(layer->tensors()[0].ShortDebugString().find("shape: 4 shape: 30") != std::string::npos);
  CHECK(layer->output().elements() == 4);
}

TEST_CASE("convolution layer: gradients") {
  const Shape inputs[] = {{4, 5, 1}, {3, 4, 3}};
  for (const Shape& input : inputs) {
    LayerUnderTest layer("convolution", MakeConv3x3(input, input.channels == 1 ? 16 : 5), input, 2);
    layer.CheckGradients();
    layer.CheckWithoutDx();
  }
}

TEST_CASE("pooling layer: gradients") {
  for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
    const Shape input{5, 6, 3};
    LayerUnderTest layer("pool", MakeMaxPool(input, activation), input, 2);
    layer.CheckGradients();
    layer.CheckWithoutDx();
  }
}

TEST_CASE("initial values: PyTorch's bounds, groups by kind") {
  const std::vector<v1::TensorSpec> tensors = MakeConv3x3({8, 8, 4}, 6)->tensors();
  REQUIRE(tensors.size() == 2);
  CHECK(tensors[0].group() == "weight");
  CHECK(tensors[1].group() == "bias");
  for (const v1::TensorSpec& tensor : tensors) {
    CHECK(tensor.initializer().kind() == v1::Initializer::UNIFORM);
    CHECK(tensor.initializer().b() == Approx(1.0 / 6));  // 1 / sqrt(4 * 9)
    CHECK(tensor.initializer().a() == -tensor.initializer().b());
  }
}

}  // namespace
}  // namespace leeway
