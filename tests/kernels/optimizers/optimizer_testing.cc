#include "tests/kernels/optimizers/optimizer_testing.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/crc32c.h"
#include "common/hash.h"
#include "tests/catch.h"

namespace leeway::testing {
namespace {

// In +-[0.125, 1.125), the same on every machine.
std::vector<float> Values(std::uint64_t seed, std::size_t count, bool both_signs) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t bits = HashCombine(seed, i);
    const float size = 0.125f + static_cast<float>(UnitUniform(bits));
    values[i] = both_signs && bits % 2 == 1 ? -size : size;
  }
  return values;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float*> SlotPointers(Problem& problem, std::size_t begin) {
  std::vector<float*> pointers;
  for (std::vector<float>& slot : problem.slots) pointers.push_back(slot.data() + begin);
  return pointers;
}

// Every array of `problem` with `shift` elements before it.
Problem Shifted(const Problem& problem, std::size_t shift) {
  Problem shifted = problem;
  const auto insert = [&](std::vector<float>& array) { array.insert(array.begin(), shift, 0.0f); };
  insert(shifted.weights);
  insert(shifted.gradient);
  for (std::vector<float>& slot : shifted.slots) insert(slot);
  return shifted;
}

void CheckNear(float got, double want, double tolerance) {
  REQUIRE(std::isfinite(got));
  REQUIRE(std::abs(got - want) <= tolerance);
}

}  // namespace

Problem MakeProblem(const std::vector<SlotKind>& kinds, std::size_t count) {
  Problem problem{Values(1, count, true), Values(2, count, true), {}};
  for (const SlotKind kind : kinds) {
    problem.slots.push_back(Values(3 + problem.slots.size(), count, kind != SlotKind::kSquare));
    for (std::size_t i = 0; i < count && kind == SlotKind::kGathered; ++i) {
      if (i % 3 == 0) problem.weights[i] = 0;
      if (i % 3 == 1) problem.slots.back()[i] = 0;
    }
  }
  return problem;
}

StepArgs TestArgs() { return {.rate = 0.5, .weight_decay = 0.1, .step = 7, .gradient_scale = 0.25}; }

void RunStep(const Optimizer& optimizer, Problem& problem, std::size_t begin, std::size_t count) {
  const std::vector<float*> slots = SlotPointers(problem, begin);
  StepArgs args = TestArgs();
  args.weights = problem.weights.data() + begin;
  args.gradient = problem.gradient.data() + begin;
  args.slots = slots.data();
  args.count = count;
  optimizer.Step(args);
}

void CheckAgainstReference(const Optimizer& optimizer, const std::vector<SlotKind>& kinds, const Reference& reference) {
  REQUIRE(optimizer.slots() == static_cast<int>(kinds.size()));
  for (const std::size_t count : {1, 7, 8, 17, 1000, 4099}) {
    const Problem before = MakeProblem(kinds, count);
    Problem after = before;
    RunStep(optimizer, after, 0, count);
    CHECK(SameBits(after.gradient, before.gradient));
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<double> slots;
      for (const std::vector<float>& slot : before.slots) slots.push_back(slot[i]);
      const double weight = reference(before.weights[i], before.gradient[i], slots, TestArgs());
      CAPTURE(count, i);
      // All values are about 1: a few float roundings, and far below the least effect of any term.
      CheckNear(after.weights[i], weight, 2e-6);
      for (std::size_t s = 0; s < slots.size(); ++s) {
        CheckNear(after.slots[s][i], slots[s], 1e-6 * std::max(1.0, std::abs(slots[s])));
      }
    }
  }
}

void CheckSameBits(const Problem& got, const Problem& want, const std::string& what) {
  CAPTURE(what);
  CHECK(SameBits(got.weights, want.weights));
  REQUIRE(got.slots.size() == want.slots.size());
  for (std::size_t s = 0; s < got.slots.size(); ++s) CHECK(SameBits(got.slots[s], want.slots[s]));
}

void CheckPiecesAndAlignments(const Optimizer& optimizer, const std::vector<SlotKind>& kinds) {
  constexpr std::size_t kCount = 1000;
  const Problem before = MakeProblem(kinds, kCount);
  Problem whole = before;
  RunStep(optimizer, whole, 0, kCount);

  Problem pieces = before;
  for (std::size_t begin = 0, size = 1; begin < kCount; begin += size, size = size * 2 % 61 + 1) {
    RunStep(optimizer, pieces, begin, std::min(size, kCount - begin));
  }
  CheckSameBits(pieces, whole, "pieces");

  for (std::size_t shift = 1; shift <= 16; ++shift) {
    Problem shifted = Shifted(before, shift);
    RunStep(optimizer, shifted, shift, kCount);
    CheckSameBits(shifted, Shifted(whole, shift), "shift " + std::to_string(shift));
  }
}

std::uint32_t StepBits(const Optimizer& optimizer, const std::vector<SlotKind>& kinds) {
  constexpr std::size_t kCount = 4099;
  Problem problem = MakeProblem(kinds, kCount);
  RunStep(optimizer, problem, 0, kCount);
  std::uint32_t crc = Crc32c(problem.weights.data(), kCount * sizeof(float));
  for (const std::vector<float>& slot : problem.slots) crc = Crc32c(slot.data(), kCount * sizeof(float), crc);
  return crc;
}

void CheckGolden(const Optimizer& optimizer, const std::vector<SlotKind>& kinds, const std::vector<float>& weights,
                 const std::vector<std::vector<float>>& slots) {
  Problem problem{{0.5f, -1.25f, 2.0f, -0.03125f}, {0.75f, -0.125f, -3.0f, 0.0625f}, {}};
  for (const SlotKind kind : kinds) {
    problem.slots.push_back(kind == SlotKind::kSigned ? std::vector<float>{0.25f, -0.5f, 1.5f, -0.0625f}
                                                      : std::vector<float>{0.5f, 0.0625f, 4.0f, 0.001953125f});
  }
  const std::vector<float*> pointers = SlotPointers(problem, 0);
  for (const std::uint64_t step : {7, 8}) {
    optimizer.Step({.weights = problem.weights.data(),
                    .gradient = problem.gradient.data(),
                    .slots = pointers.data(),
                    .count = 4,
                    .rate = 0.01,
                    .weight_decay = 0.1,
                    .step = step,
                    .gradient_scale = 0.5});
  }
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i, problem.weights[i], weights[i]);
    CheckNear(problem.weights[i], weights[i], 5e-7 * std::abs(weights[i]));
    for (std::size_t s = 0; s < slots.size(); ++s) {
      CAPTURE(s, problem.slots[s][i], slots[s][i]);
      CheckNear(problem.slots[s][i], slots[s][i], 1e-6 * std::abs(slots[s][i]));
    }
  }
}

}  // namespace leeway::testing
