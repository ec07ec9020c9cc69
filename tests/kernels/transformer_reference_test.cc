// The transformer reference's backward ops against central differences of its forward ops, in double.
#include <cmath>
#include <functional>

#include "kernels/reference/transformer.h"
#include "tests/kernels/check_gradient.h"
#include "tests/kernels/device_fixture.h"

namespace leeway {
namespace {

Doubles Random(std::int64_t count, std::uint32_t seed) { return ToDoubles(RandomFloats(count, seed)); }

TEST_CASE("embedding") {
  const EmbeddingShape shape{2, 3, 5, 4};
  const std::vector<std::int32_t> tokens = {4, 0, 4, 2, 4, 1};
  const Doubles wte = Random(20, 1), wpe = Random(12, 2), dy = Random(24, 3);
  const reference::EmbeddingGradients gradients = reference::EmbeddingBackward(shape, tokens, dy);
  CheckGradient([&](const Doubles& v) { return reference::EmbeddingForward(shape, tokens, v, wpe); }, dy, wte,
                gradients.dwte);
  CheckGradient([&](const Doubles& v) { return reference::EmbeddingForward(shape, tokens, wte, v); }, dy, wpe,
                gradients.dwpe);
}

TEST_CASE("layer norm") {
  const NormShape shape{3, 5};
  const Doubles x = Random(15, 1), gain = Random(5, 2), bias = Random(5, 3), dy = Random(15, 4);
  const auto forward = [&](const Doubles& xx, const Doubles& gg, const Doubles& bb) {
    return reference::LayerNormForward(shape, xx, gg, bb).y;
  };
  const reference::NormGradients gradients = reference::LayerNormBackward(shape, x, gain, dy);
  CheckGradient([&](const Doubles& v) { return forward(v, gain, bias); }, dy, x, gradients.dx);
  CheckGradient([&](const Doubles& v) { return forward(x, v, bias); }, dy, gain, gradients.dgain);
  CheckGradient([&](const Doubles& v) { return forward(x, gain, v); }, dy, bias, gradients.dbias);
}

TEST_CASE("GELU, with the values that everybody's tanh approximation has") {
  const Doubles x = {-3, -1, -0.5, 0, 0.5, 1, 2, 3};
  const Doubles y = reference::GeluForward(x);
  const Doubles expected = {-0.0036373920817, -0.1588080094, -0.1542859881, 0,
                            0.3457140119,     0.8411919906,  1.9545976939,  2.9963626079};
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(y[i] == Approx(expected[i]).epsilon(1e-6).margin(1e-12));
  const Doubles dy = Random(8, 1);
  CheckGradient(reference::GeluForward, dy, x, reference::GeluBackward(x, dy));
}

TEST_CASE("attention: it sees the past alone, and its gradient is one") {
  const AttentionShape shape{2, 5, 2, 3};
  const Doubles qkv = Random(2 * 5 * 3 * 6, 1), dy = Random(2 * 5 * 6, 2);
  CheckGradient([&](const Doubles& v) { return reference::AttentionForward(shape, v).y; }, dy, qkv,
                reference::AttentionBackward(shape, qkv, dy));
  // The first position sees itself only: its output is its value.
  const Doubles y = reference::AttentionForward(shape, qkv).y;
  for (std::size_t d = 0; d < 6; ++d) CHECK(y[d] == qkv[12 + d]);
  // What the last position holds changes no other's output.
  Doubles changed = qkv;
  for (std::size_t i = 4 * 18; i < 5 * 18; ++i) changed[i] += 1;
  const Doubles after = reference::AttentionForward(shape, changed).y;
  for (std::size_t i = 0; i < 4 * 6; ++i) CHECK(after[i] == y[i]);
  CHECK(after[4 * 6] != y[4 * 6]);
}

TEST_CASE("softmax cross-entropy with padding columns") {
  const LogitsShape shape{3, 5, 8};
  const std::vector<std::int32_t> labels = {2, 0, 4};
  const Doubles logits = Random(24, 1);
  CheckGradient(
      [&](const Doubles& z) { return Doubles{reference::PaddedSoftmaxCrossEntropy(shape, z, labels, 1).loss_sum}; },
      {0.5}, logits, reference::PaddedSoftmaxCrossEntropy(shape, logits, labels, 0.5).dlogits);
}

}  // namespace
}  // namespace leeway
