#include "server/worker_copy.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "kernels/encodings/encoding.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

using Floats = std::vector<float>;
using Sizes = std::vector<std::uint32_t>;

std::size_t Sum(const Sizes& sizes) {
  std::size_t sum = 0;
  for (const std::uint32_t size : sizes) sum += size;
  return sum;
}

WorkerCopy::ReadBlock ReadFrom(const Floats& weights, const Sizes& sizes) {
  return [&weights, &sizes](std::uint32_t i, float* out) {
    std::size_t begin = 0;
    for (std::uint32_t k = 0; k < i; ++k) begin += sizes[k];
    std::copy_n(weights.begin() + static_cast<std::ptrdiff_t>(begin), sizes[i], out);
  };
}

// Follows the answers as docs/protocol.md tells a worker to.
struct Follower {
  Floats floats;
  std::uint64_t sequence = 0;

  void Take(const WorkerCopy::Answer& answer, std::uint64_t number, const Sizes& sizes) {
    if (!answer.delta) {
      floats.resize(answer.payload.size() / sizeof(float));
      answer.payload.CopyTo(0, answer.payload.size(), floats.data());
    } else {
      float* block = floats.data();
      std::size_t at = 0;
      for (const std::uint32_t size : sizes) {
        at = DecodeAddBlock(v1::INT8, answer.payload, at, size, block).value();
        block += size;
      }
      REQUIRE(at == answer.payload.size());
    }
    sequence = number;
  }
};

bool SameBits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// How many values are further from the weights than half a step of their block's INT8, plus the rounding of the sum.
std::size_t TooFar(const Buffer& payload, const Sizes& sizes, const Floats& copy, const Floats& weights) {
  std::size_t wrong = 0, at = 0, i = 0;
  for (const std::uint32_t size : sizes) {
    float scale = 0;
    payload.CopyTo(at, sizeof scale, &scale);
    at += EncodedBytes(v1::INT8, size);
    for (const std::size_t end = i + size; i < end; ++i) {
      const double rounding = 0x1p-23 * (std::fabs(weights[i]) + std::fabs(copy[i]));
      wrong += std::fabs(static_cast<double>(weights[i]) - copy[i]) > 0.50001 * scale + rounding;
    }
  }
  return wrong;
}

TEST_CASE("WorkerCopy: after any updates, pulls and lost answers, the worker has the copy, and that is near") {
  Random random(TestSeed());
  for (int round = 0; round < 30; ++round) {
    Sizes sizes;
    for (std::uint64_t i = 1 + random.Below(3); i > 0; --i) sizes.push_back(1 + random.Below(700));
    Floats weights(Sum(sizes));
    WorkerCopy copy(sizes);
    Follower worker;
    std::uint64_t number = 0;
    int deltas = 0;
    for (int step = 0; step < 60; ++step) {
      // Updates of very different size: a step that is lost in the rounding must not be lost for ever.
      const auto size = static_cast<float>(std::pow(10.0, 6 * random.Unit() - 5));
      for (float& weight : weights) weight += size * static_cast<float>(random.Unit() - 0.5);
      const WorkerCopy::Answer answer = copy.Update(worker.sequence, ++number, ReadFrom(weights, sizes));
      REQUIRE(answer.payload.size() == (answer.delta ? 4 * sizes.size() + weights.size() : 4 * weights.size()));
      const Floats kept = copy.floats();
      if (answer.delta) {
        ++deltas;
        REQUIRE(TooFar(answer.payload, sizes, kept, weights) == 0);
      } else {
        REQUIRE(SameBits(kept, weights));
      }
      if (random.Chance(0.2)) continue;  // lost
      worker.Take(answer, number, sizes);
      REQUIRE(SameBits(worker.floats, kept));
    }
    CHECK(deltas > 20);
  }
}

TEST_CASE("WorkerCopy: an answer that was lost is made up for with values") {
  const Sizes sizes = {3};
  Floats weights = {1, 2, 3};
  WorkerCopy copy(sizes);
  CHECK_FALSE(copy.Update(0, 1, ReadFrom(weights, sizes)).delta);
  CHECK(copy.Update(1, 2, ReadFrom(weights, sizes)).delta);
  CHECK_FALSE(copy.Update(1, 3, ReadFrom(weights, sizes)).delta);  // answer 2 has not arrived
  CHECK_FALSE(copy.Update(2, 4, ReadFrom(weights, sizes)).delta);  // it has, but answer 3 came after it
  CHECK_FALSE(copy.Update(0, 5, ReadFrom(weights, sizes)).delta);
  CHECK(copy.Update(5, 6, ReadFrom(weights, sizes)).delta);
  CHECK_FALSE(copy.Update(7, 7, ReadFrom(weights, sizes)).delta);  // from the future
}

// What INT8 leaves out is not lost: with nothing new it arrives with the next answers.
TEST_CASE("WorkerCopy: weights that rest arrive bit for bit after a few answers") {
  const Sizes sizes = {400, 30};
  Random random(TestSeed());
  Floats weights(430);
  WorkerCopy copy(sizes);
  copy.Update(0, 1, ReadFrom(weights, sizes));
  for (float& weight : weights) weight = static_cast<float>(random.Unit() - 0.5);
  for (std::uint64_t number = 2; number < 9; ++number) {
    REQUIRE(copy.Update(number - 1, number, ReadFrom(weights, sizes)).delta);
  }
  CHECK(copy.floats() == weights);
}

TEST_CASE("WorkerCopy: weights that are not finite are told as they are") {
  const Sizes sizes = {2, 2};
  Floats weights = {1, 2, 3, 4};
  WorkerCopy copy(sizes);
  copy.Update(0, 1, ReadFrom(weights, sizes));
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    weights[3] = bad;
    const WorkerCopy::Answer answer = copy.Update(1, 1, ReadFrom(weights, sizes));
    CHECK_FALSE(answer.delta);
    Follower worker;
    worker.Take(answer, 1, sizes);
    CHECK(SameBits(worker.floats, weights));
  }
  weights[3] = 4;
  CHECK_FALSE(copy.Update(1, 2, ReadFrom(weights, sizes)).delta);  // the difference to NaN is none
  CHECK(copy.Update(2, 3, ReadFrom(weights, sizes)).delta);
}

TEST_CASE("WorkerCopy: of several pulls with one base at once, one at most is answered with a difference") {
  const Sizes sizes = {5000};
  const Floats weights(5000, 1.5f);
  for (int round = 0; round < 50; ++round) {
    WorkerCopy copy(sizes);
    copy.Update(0, 1, ReadFrom(Floats(5000), sizes));
    std::vector<WorkerCopy::Answer> answers(4);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      threads.emplace_back([&, i] { answers[i] = copy.Update(1, 2 + i, ReadFrom(weights, sizes)); });
    }
    for (std::thread& thread : threads) thread.join();
    int deltas = 0;
    for (const WorkerCopy::Answer& answer : answers) deltas += answer.delta;
    REQUIRE(deltas == 1);
    REQUIRE(copy.floats() == weights);
  }
}

}  // namespace
}  // namespace leeway
