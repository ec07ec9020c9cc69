#include "kernels/optimizers/ftrl.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "common/hash.h"
#include "tests/catch.h"
#include "tests/kernels/optimizers/optimizer_testing.h"

namespace leeway::testing {
namespace {

const std::vector<SlotKind> kSlots = {SlotKind::kGathered, SlotKind::kSquare};

// Of one element or a few, with the slots beside them.
struct State {
  explicit State(std::vector<float> initial) : w(std::move(initial)), z(w.size()), n(w.size()) {}

  void Step(const FtrlParameters& parameters, double rate, const std::vector<float>& gradient) {
    float* const slots[] = {z.data(), n.data()};
    StepArgs args;
    args.weights = w.data();
    args.gradient = gradient.data();
    args.slots = slots;
    args.count = w.size();
    args.rate = rate;
    Ftrl(parameters).Step(args);
  }

  std::vector<float> w, z, n;
};

std::uint32_t Bits(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

Reference ReferenceOf(const FtrlParameters& p) {
  return [p](double w, double gradient, std::vector<double>& slots, const StepArgs& args) {
    const double g = args.gradient_scale * gradient + args.weight_decay * w;
    double &z = slots[0], &n = slots[1];
    n += g * g;
    const double q = (p.beta + std::sqrt(n)) / args.rate;
    // What z is at this step's rate.
    if (w != 0) z = z == 0 ? -q * w : -std::copysign(p.l1, w) - (q + p.l2) * w;
    z += g;
    return std::abs(z) <= p.l1 ? 0.0 : (std::copysign(p.l1, z) - z) / (q + p.l2);
  };
}

TEST_CASE("FTRL: agrees with the formula in double") {
  for (const FtrlParameters& p : {FtrlParameters{0.5, 0.25, 0.25}, {0.0625, 0, 0.125}, {0, 0.5, 1}, {0, 0, 0.125}}) {
    CheckAgainstReference(Ftrl(p), kSlots, ReferenceOf(p));
  }
}

// The paper's algorithm 1 in Python, with each step's rate as alpha; steps 0 to 3 make the state, 4 to 7 what is
// expected:
//   l1, l2, beta = 1.0, 0.5, 0.125
//   rates = [0.5, 0.25, 0.375, 0.125, 0.5, 0.375, 0.25, 0.5]
//   for i in range(11):
//       w, n, q = ((5 * i + 3) % 11 - 5) / 4, 0.0, beta / rates[0]
//       z = -q * w
//       for t, rate in enumerate(rates):
//           g = ((7 * t * t + 3 * i * i + 5 * t * i + 5) % 17 - 8) / 4
//           n += g * g
//           z += g - ((beta + sqrt(n)) / rate - q) * w
//           q = (beta + sqrt(n)) / rate
//           w = 0 if abs(z) <= l1 else (copysign(l1, z) - z) / (q + l2)
TEST_CASE("FTRL: the numbers of the paper's algorithm, at changing rates") {
  const std::vector<float> w = {
      -0.405623148f, 0.3388764f, -0.0349614759f, 0.661451335f, 0, 0.201838306f, -1.04803265f, -0.538055155f, 0, 0,
      0.137710317f};
  const std::vector<float> z = {4.45922502f, -3.57118984f, 1.30645865f,    -6.69385036f, -0.978048745f, -2.27062628f,
                                9.15958774f, 5.01292507f,  -0.0794234866f, 0.970218736f, -1.98236655f};
  const std::vector<float> n = {15.125f, 11.6875f, 16.0625f, 15.4375f, 10.4375f, 7.6875f,
                                12.375f, 11.25f,   6.625f,   6.8125f,  10.1875f};
  State state({-0.225404058f, 0.054803418f, 0, 0.19436875f, -0.0859637201f, -0.0390081645f, -1.31185359f, -0.394122405f,
               0, -0.116967986f, 0.341741267f});
  state.z = {6.91429454f, -2.12202687f, 0.986067441f,  -5.15944242f, 2.77801565f, 1.6875f,
             27.8584522f, 10.1173549f,  -0.579423487f, 2.45677206f,  -7.35228923f};
  state.n = {9.5625f, 5.625f, 10.25f, 6.1875f, 5.75f, 4.0625f, 5.625f, 7.3125f, 4.75f, 1.875f, 4.5625f};
  const double rates[] = {0.5, 0.375, 0.25, 0.5};
  for (int t = 4; t < 8; ++t) {
    std::vector<float> gradient;
    for (int i = 0; i < 11; ++i) gradient.push_back(((7 * t * t + 3 * i * i + 5 * t * i + 5) % 17 - 8) / 4.0f);
    state.Step({1, 0.5, 0.125}, rates[t - 4], gradient);
  }
  for (std::size_t i = 0; i < w.size(); ++i) {
    CAPTURE(i);
    CHECK(state.w[i] == Approx(w[i]).epsilon(2e-6));
    CHECK((state.w[i] == 0) == (w[i] == 0));
    CHECK(state.z[i] == Approx(z[i]).epsilon(2e-6));
    CHECK(state.n[i] == Approx(n[i]).epsilon(1e-6));
  }
}

TEST_CASE("FTRL: thousands of steps stay with algorithm 1 in double, zeros included") {
  const FtrlParameters p{1.5, 0.25, 1};
  constexpr double kRate = 0.1;
  constexpr std::size_t kCount = 257;
  State state{std::vector<float>(kCount)};
  std::vector<double> z(kCount), n(kCount), w(kCount);
  std::vector<float> gradient(kCount);
  int zeros = 0, left = 0, returned = 0, wrong_zeros = 0;
  double farthest = 0;
  for (int t = 0; t < 3000; ++t) {
    for (std::size_t i = 0; i < kCount; ++i) {
      // Pulled to a weight of its own, with noise; half of them to none.
      const double best = i % 2 == 0 ? 0 : static_cast<double>(i) / 100 - 1.2;
      const double noise = UnitUniform(HashCombine(static_cast<std::uint64_t>(t), i)) - 0.5;
      const double pull = t < 1500 ? w[i] - best : w[i];
      gradient[i] = i % 7 == 3 && t % 50 != 0 ? 0 : static_cast<float>(0.05 * pull + 0.1 * noise);
      const double g = gradient[i], old = w[i];
      const double sigma = (std::sqrt(n[i] + g * g) - std::sqrt(n[i])) / kRate;
      z[i] += g - sigma * w[i];
      n[i] += g * g;
      w[i] = std::abs(z[i]) <= p.l1 ? 0
                                    : -(z[i] - std::copysign(p.l1, z[i])) / ((p.beta + std::sqrt(n[i])) / kRate + p.l2);
      left += old == 0 && w[i] != 0;
      returned += old != 0 && w[i] == 0;
    }
    state.Step(p, kRate, gradient);
    for (std::size_t i = 0; i < kCount; ++i) {
      farthest = std::max(farthest, std::abs(state.w[i] - w[i]));
      const bool near_limit = std::abs(std::abs(z[i]) - p.l1) < 1e-3;
      wrong_zeros += !near_limit && (state.w[i] == 0) != (w[i] == 0);
      zeros += state.w[i] == 0;
    }
  }
  CHECK(farthest < 1e-4);
  CHECK(wrong_zeros == 0);
  CHECK(zeros > 100000);
  CHECK(left > 100);
  CHECK(returned > 20);
}

TEST_CASE("FTRL: a weight within l1 of 0 is +0, and no rate moves a weight without a gradient") {
  const FtrlParameters p{0.5, 0.25, 1};
  State state({0, 0, 0, 0});
  state.Step(p, 0.5, {0.5f, -0.5f, 0.75f, -4});
  CHECK(Bits(state.w[0]) == 0);
  CHECK(Bits(state.w[1]) == 0);
  CHECK(state.w[2] < 0);
  CHECK(state.w[3] > 0);
  const State before = state;
  for (const double rate : {1e-6, 0.5, 0.0, 3.0}) {
    state.Step(p, rate, {0, 0, 0, 0});
    CHECK(state.w == before.w);
    CHECK(state.n == before.n);
  }
  state.Step(p, 0.5, {-1.25f, 0.25f, 0, 0});  // what is gathered at 0 counts: -0.75, -0.25
  CHECK(state.w[0] > 0);
  CHECK(Bits(state.w[1]) == 0);
}

TEST_CASE("FTRL: initial weights are where the first step begins, and the penalties are taken off once") {
  State plain({0.75f, -0.25f});
  plain.Step({0, 0, 1}, 0.5, {3, 0});
  CHECK(plain.w[0] == Approx(0.75 - 0.5 * 3 / (1 + 3)));
  CHECK(plain.w[1] == -0.25f);

  // Q = 2 before any gradient: |w| comes nearer by l1 / Q = 0.25, then by the factor Q / (Q + l2).
  State state({0.75f, -0.25f, 0.125f, -1});
  const FtrlParameters p{0.5, 2, 1};
  state.Step(p, 0, {1, 1, 1, 1});  // the first step of a warm-up: nothing moves
  CHECK(state.w == std::vector<float>{0.75f, -0.25f, 0.125f, -1});
  state.n = {0, 0, 0, 0};
  for (int step = 0; step < 3; ++step) {
    state.Step(p, 0.5, {0, 0, 0, 0});
    CHECK(state.w == std::vector<float>{0.25f, 0, 0, -0.375f});
  }
}

TEST_CASE("FTRL: a gradient whose square is no number stops its weight, and leaves it finite") {
  State state({0.75f, 0});
  for (int step = 0; step < 3; ++step) state.Step({0.5, 2, 1}, 0.5, {1e30f, -1e30f});
  CHECK(state.w == std::vector<float>{0.75f, 0});
}

TEST_CASE("FTRL: a parameter group's factor of the penalties") {
  StepArgs args = TestArgs();
  const FtrlRule whole = Ftrl({0.5, 2, 1}).Rule(args);
  CHECK(whole.l1 == 0.5f);
  CHECK(whole.l2 == 2);
  CHECK(whole.base == 2);  // 1 + 0.5 * 2
  args.penalty_factor = 0;
  const FtrlRule none = Ftrl({0.5, 2, 1}).Rule(args);
  CHECK(none.l1 == 0);
  CHECK(none.l2 == 0);
  CHECK(none.base == 1);
}

TEST_CASE("FTRL: the same bits for every cut, alignment, compiler and machine") {
  const Ftrl ftrl({0.5, 0.25, 0.25});
  CheckPiecesAndAlignments(ftrl, kSlots);
  CHECK(StepBits(ftrl, kSlots) == 0x54c43147u);
}

#if LEEWAY_TEST_TARGETS
TEST_CASE("FTRL: the same bits on every instruction set") {
  const Ftrl ftrl({0.5, 0.25, 0.25});
  CheckInstructionSets(ftrl, kSlots, ftrl.Rule(TestArgs()));
}
#endif

}  // namespace
}  // namespace leeway::testing
