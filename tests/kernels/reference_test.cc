// The reference's backward ops against central differences of its forward ops, in double: that the formulas are
// derivatives of each other. (That the fast ops match the reference is tested elsewhere.)
#include "kernels/reference/reference.h"

#include <cmath>

#include "tests/kernels/check_gradient.h"
#include "tests/kernels/device_fixture.h"

namespace leeway {
namespace {

Doubles Random(std::int64_t count, std::uint32_t seed) { return ToDoubles(RandomFloats(count, seed)); }

TEST_CASE("linear") {
  const LinearShape shape{3, 5, 4};
  const Doubles x = Random(15, 1), w = Random(20, 2), bias = Random(4, 3), dy = Random(12, 4);
  const auto forward = [&](const Doubles& xx, const Doubles& ww, const Doubles& bb) {
    return reference::LinearForward(shape, xx, ww, bb, Activation::kNone);
  };
  const reference::WeightGradients gradients = reference::LinearBackwardWeights(shape, x, dy);
  CheckGradient([&](const Doubles& v) { return forward(v, w, bias); }, dy, x,
                reference::LinearBackwardData(shape, dy, w));
  CheckGradient([&](const Doubles& v) { return forward(x, v, bias); }, dy, w, gradients.dw);
  CheckGradient([&](const Doubles& v) { return forward(x, w, v); }, dy, bias, gradients.dbias);
}

TEST_CASE("3x3 convolution") {
  const ImageShape shape{2, 4, 3, 2};
  const Doubles x = Random(48, 1), w = Random(54, 2), bias = Random(3, 3), dy = Random(72, 4);
  const auto forward = [&](const Doubles& xx, const Doubles& ww, const Doubles& bb) {
    return reference::Conv3x3Forward(shape, 3, xx, ww, bb);
  };
  const reference::WeightGradients gradients = reference::Conv3x3BackwardWeights(shape, 3, x, dy);
  CheckGradient([&](const Doubles& v) { return forward(v, w, bias); }, dy, x,
                reference::Conv3x3BackwardData(shape, 3, dy, w));
  CheckGradient([&](const Doubles& v) { return forward(x, v, bias); }, dy, w, gradients.dw);
  CheckGradient([&](const Doubles& v) { return forward(x, w, v); }, dy, bias, gradients.dbias);
}

TEST_CASE("3x3 convolution: golden numbers") {
  // One image 2 x 2 of 1, 2, 3, 4; a kernel that reads the pixel to the right, and one that reads the pixel above.
  const ImageShape shape{1, 2, 2, 1};
  const Doubles w = {0, 0, 0, 0, 0, 1, 0, 0, 0, /**/ 0, 1, 0, 0, 0, 0, 0, 0, 0};
  CHECK(reference::Conv3x3Forward(shape, 2, {1, 2, 3, 4}, w, {10, 20}) == Doubles{12, 20, 10, 20, 14, 21, 10, 22});
}

TEST_CASE("ReLU and max pooling") {
  const ImageShape shape{2, 5, 4, 3};
  const Doubles x = Random(shape.elements(), 1);
  const Doubles dx = Random(shape.elements(), 2);
  CheckGradient(reference::ReluForward, dx, x, reference::ReluBackward(reference::ReluForward(x), dx));
  for (const Activation activation : {Activation::kNone, Activation::kRelu}) {
    const reference::Pooled pooled = reference::MaxPoolForward(shape, x, activation);
    REQUIRE(pooled.y.size() == 24);
    const Doubles dy = Random(24, 3);
    CheckGradient([&](const Doubles& v) { return reference::MaxPoolForward(shape, v, activation).y; }, dy, x,
                  reference::MaxPoolBackward(shape, dy, pooled.choice));
  }
}

TEST_CASE("softmax cross-entropy") {
  const std::vector<std::int32_t> labels = {2, 0, 4};
  const Doubles logits = Random(15, 1);
  const auto loss = [&](const Doubles& z) {
    return Doubles{reference::SoftmaxCrossEntropy(3, 5, z, labels, 1).loss_sum};
  };
  CheckGradient(loss, {0.5}, logits, reference::SoftmaxCrossEntropy(3, 5, logits, labels, 0.5).dlogits);
  CHECK(reference::SoftmaxCrossEntropy(1, 4, {0, 0, 0, 0}, {0}, 1).loss_sum == Approx(std::log(4.0)));
  CHECK(reference::SoftmaxCrossEntropy(2, 2, {1, 2, 2, 1}, {1, 1}, 1).correct == 1);
}

}  // namespace
}  // namespace leeway
