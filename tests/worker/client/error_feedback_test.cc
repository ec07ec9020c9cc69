#include "worker/client/error_feedback.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include "kernels/encodings/encoding.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "worker/client/chunk_memory.h"

namespace leeway {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

PushEncoding Int8() { return {v1::INT8, 0, 0}; }
PushEncoding TopK(double fraction, double momentum = 0) { return {v1::TOP_K, fraction, momentum}; }

// A feedback and what is known about it: the sums of the gradients given to it and of what was sent and applied.
struct Ledger {
  Ledger(std::uint64_t elements, std::uint32_t shards, const PushEncoding& how)
      : placement(Placement::Make(elements, shards).value()),
        encoding(how),
        feedback(placement, how),
        given(elements),
        applied(elements) {
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(shard); ++chunk) ids.push_back({shard, chunk});
    }
  }

  // What `bytes` say, added to `sum`.
  template <typename T>
  void AddTo(ChunkId id, const Buffer& bytes, std::vector<T>* sum) const {
    Floats block(placement.block_elements());
    std::size_t at = 0;
    ForEachBlock(placement, placement.Chunk(id.shard, id.chunk), [&](std::uint64_t begin, std::size_t count) {
      at = DecodeBlock(encoding.encoding, bytes, at, count, block.data()).value();
      for (std::size_t i = 0; i < count; ++i) (*sum)[begin + i] += block[i];
    });
  }
  void Give(ChunkId id, const Floats& gradient) {
    ForEachBlock(placement, placement.Chunk(id.shard, id.chunk), [&](std::uint64_t begin, std::size_t count) {
      for (std::size_t i = begin; i < begin + count; ++i) given[i] += gradient[i];
    });
  }
  // How far the identity is from true, at its worst element.
  double Error() const {
    double worst = 0;
    for (std::size_t i = 0; i < given.size(); ++i) {
      worst = std::max(worst, std::abs(applied[i] + double{feedback.residual()[i]} - given[i]));
    }
    return worst;
  }

  const Placement placement;
  const PushEncoding encoding;
  ErrorFeedback feedback;
  std::vector<ChunkId> ids;
  Doubles given, applied;
};

// Thousands of steps: each chunk is encoded or kept; its bytes are applied or returned, in any order, later.
template <typename Draw>
void RandomSteps(Ledger& ledger, Random& random, int steps, Draw draw) {
  struct Sent {
    ChunkId id;
    Buffer bytes;
  };
  std::vector<Sent> in_flight;
  const auto settle = [&](std::size_t i) {
    if (random.Chance(0.3)) {
      ledger.feedback.Return(in_flight[i].id, in_flight[i].bytes);
    } else {
      ledger.AddTo(in_flight[i].id, in_flight[i].bytes, &ledger.applied);
    }
    in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(i));
  };
  Floats gradient(ledger.placement.elements());
  for (int step = 0; step < steps; ++step) {
    std::generate(gradient.begin(), gradient.end(), draw);
    for (const ChunkId id : ledger.ids) {
      ledger.Give(id, gradient);
      if (random.Chance(0.1)) {
        ledger.feedback.Absorb(id, gradient.data());
      } else {
        std::optional<Buffer> bytes = ledger.feedback.Encode(id, gradient.data());
        REQUIRE(bytes);
        in_flight.push_back({id, *std::move(bytes)});
      }
    }
    while (in_flight.size() > 3 * ledger.ids.size()) settle(random.Below(in_flight.size()));
  }
  while (!in_flight.empty()) settle(random.Below(in_flight.size()));
}

TEST_CASE("top_k: what was applied plus the residual is the sum of the gradients, exactly, under refusals") {
  Random random(TestSeed());
  for (const double fraction : {0.001, 0.1, 1.0}) {
    Ledger ledger(4300, 2, TopK(fraction));
    // Whole numbers: no sum is rounded.
    RandomSteps(ledger, random, 2000, [&] { return static_cast<float>(random.Below(101)) - 50.0f; });
    CHECK(ledger.Error() == 0);
  }
}

TEST_CASE("int8: the same, to the rounding of the additions") {
  Random random(TestSeed());
  constexpr int kSteps = 2000;
  Ledger ledger(4300, 2, Int8());
  RandomSteps(ledger, random, kSteps, [&] { return static_cast<float>(random.Unit() - 0.3); });
  // Values stay below 2 * (1 + the returns of three steps); each step rounds a residual at most four times.
  CHECK(ledger.Error() < kSteps * 4 * 8 * std::ldexp(1.0, -24));
  CHECK(ledger.Error() > 0);
}

// Deep gradient compression as its paper has it, value by value.
struct Reference {
  explicit Reference(std::size_t elements) : u(elements), v(elements) {}
  // What is sent of the block of `count` values that begins at `begin`.
  Floats Step(const Floats& gradient, std::size_t begin, std::size_t count, double fraction, float m) {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), begin);
    for (const std::size_t i : order) {
      u[i] = m * u[i] + gradient[i];
      v[i] = v[i] + u[i];
      velocities += u[i];
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return std::abs(v[a]) > std::abs(v[b]); });
    order.resize(static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(count))));
    Floats sent(count);
    for (const std::size_t i : order) {
      sent[i - begin] = v[i];
      v[i] = u[i] = 0;
    }
    return sent;
  }
  Floats u, v;
  double velocities = 0;
};

TEST_CASE("Momentum correction is deep gradient compression's, bit for bit") {
  Random random(TestSeed());
  constexpr double kFraction = 0.02;
  constexpr float kMomentum = 0.9f;
  Ledger ledger(5000, 1, TopK(kFraction, 0.9));
  Reference reference(5000);
  Floats gradient(5000);
  double sent_in_all = 0;
  for (int step = 0; step < 200; ++step) {
    for (float& g : gradient) g = static_cast<float>(random.Unit() - 0.5);
    Floats expected;
    ForEachBlock(ledger.placement, ledger.placement.Chunk(0, 0), [&](std::uint64_t begin, std::size_t count) {
      const Floats block = reference.Step(gradient, begin, count, kFraction, kMomentum);
      expected.insert(expected.end(), block.begin(), block.end());
    });
    const std::optional<Buffer> bytes = ledger.feedback.Encode({0, 0}, gradient.data());
    REQUIRE(bytes);
    Floats sent(5000);
    ledger.AddTo({0, 0}, *bytes, &sent);
    REQUIRE(sent == expected);
    REQUIRE(ledger.feedback.residual() == reference.v);
    if (step % 7 == 3) {  // a refusal: the mass goes back to v, and the stopped velocity stays stopped
      ledger.feedback.Return({0, 0}, *bytes);
      for (std::size_t i = 0; i < sent.size(); ++i) reference.v[i] += sent[i];
    } else {
      sent_in_all += std::accumulate(sent.begin(), sent.end(), 0.0);
    }
  }
  // The identity, over the velocities.
  const double left = std::accumulate(reference.v.begin(), reference.v.end(), 0.0);
  CHECK(sent_in_all + left == Approx(reference.velocities).epsilon(1e-4).margin(0.05));
}

TEST_CASE("Momentum correction that sends everything is momentum SGD") {
  Random random(TestSeed());
  Ledger ledger(6000, 1, TopK(1.0, 0.9));
  Floats gradient(6000), velocity(6000);
  for (int step = 0; step < 50; ++step) {
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      gradient[i] = static_cast<float>(random.Unit() - 0.5);
      velocity[i] = 0.9f * velocity[i] + gradient[i];
    }
    Floats sent(6000);
    ledger.AddTo({0, 0}, *ledger.feedback.Encode({0, 0}, gradient.data()), &sent);
    REQUIRE(sent == velocity);
  }
  CHECK(ledger.feedback.residual() == Floats(6000));
}

TEST_CASE("A value that is not finite, or too large, leaves the residual as it was and stops no other chunk") {
  for (const PushEncoding& how : {Int8(), TopK(0.1), TopK(0.1, 0.5)}) {
    Ledger ledger(20000, 2, how);
    Floats gradient(20000);
    std::iota(gradient.begin(), gradient.end(), 1.0f);
    for (const ChunkId id : ledger.ids) REQUIRE(ledger.feedback.Encode(id, gradient.data()));
    const Floats before = ledger.feedback.residual();
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(), 0x1p120f, -std::numeric_limits<float>::max()}) {
      Floats broken = gradient;
      const ChunkRun run = ledger.placement.Chunk(0, 0);
      const std::uint64_t last = run.first_block + (run.num_blocks - 1) * 2;  // of shard 0
      broken[ledger.placement.BlockBegin(last)] = bad;
      CHECK_FALSE(ledger.feedback.Encode({0, 0}, broken.data()));
      ledger.feedback.Absorb({0, 0}, broken.data());
      REQUIRE(ledger.feedback.residual() == before);
    }
    CHECK(ledger.feedback.Encode({1, 0}, gradient.data()));
    CHECK(ledger.feedback.Encode({0, 0}, gradient.data()));
  }
}

TEST_CASE("Values that are too large together are refused before the residual overflows") {
  Ledger ledger(100, 1, TopK(0.01));
  const Floats large(100, 0x1p119f);
  REQUIRE(ledger.feedback.Encode({0, 0}, large.data()));
  CHECK_FALSE(ledger.feedback.Encode({0, 0}, large.data()));
  for (const float value : ledger.feedback.residual()) REQUIRE(std::isfinite(value));
}

TEST_CASE("bf16 keeps nothing") {
  Ledger ledger(5000, 1, {v1::BF16, 0, 0});
  Floats gradient(5000, 1.0f / 3);
  const std::optional<Buffer> bytes = ledger.feedback.Encode({0, 0}, gradient.data());
  REQUIRE(bytes);
  CHECK(bytes->size() == 10000);
  Floats sent(5000);
  ledger.AddTo({0, 0}, *bytes, &sent);
  CHECK(sent[4999] == Approx(1.0 / 3).epsilon(1.0 / 256));
  ledger.feedback.Return({0, 0}, *bytes);
  ledger.feedback.Absorb({0, 0}, gradient.data());
  CHECK(ledger.feedback.residual().empty());
  gradient[17] = std::numeric_limits<float>::quiet_NaN();
  CHECK_FALSE(ledger.feedback.Encode({0, 0}, gradient.data()));
}

TEST_CASE("Memory for the bytes is used again, and outlives the feedback") {
  auto feedback = std::make_unique<ErrorFeedback>(Placement::Make(5000, 1).value(), Int8());
  const Floats gradient(5000, 1.0f);
  const char* first = nullptr;
  {
    const std::optional<Buffer> bytes = feedback->Encode({0, 0}, gradient.data());
    first = bytes->slices()[0].data;
    const std::optional<Buffer> more = feedback->Encode({0, 0}, gradient.data());
    CHECK(more->slices()[0].data != first);
  }
  std::set<const char*> seen;
  for (int i = 0; i < 10; ++i) seen.insert(feedback->Encode({0, 0}, gradient.data())->slices()[0].data);
  CHECK(seen.size() == 1);
  const std::optional<Buffer> last = feedback->Encode({0, 0}, gradient.data());
  feedback.reset();
  CHECK(last->ToString().size() == last->size());
}

TEST_CASE("Chunks are encoded, kept and returned side by side") {
  Ledger ledger(40000, 4, TopK(0.05));
  const Floats gradient(40000, 3.0f);
  constexpr int kSteps = 60;
  std::vector<Doubles> applied(ledger.ids.size(), Doubles(40000));
  std::vector<std::thread> threads;
  for (std::size_t n = 0; n < ledger.ids.size(); ++n) {
    threads.emplace_back([&, n] {
      const ChunkId id = ledger.ids[n];
      std::thread returns;
      for (int step = 0; step < kSteps; ++step) {
        std::optional<Buffer> bytes = ledger.feedback.Encode(id, gradient.data());
        if (returns.joinable()) returns.join();
        if (step % 3 == 0) {
          returns = std::thread([&, id, b = *bytes] { ledger.feedback.Return(id, b); });
        } else {
          ledger.AddTo(id, *bytes, &applied[n]);
        }
      }
      if (returns.joinable()) returns.join();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t n = 0; n < ledger.ids.size(); ++n) {
    for (int step = 0; step < kSteps; ++step) ledger.Give(ledger.ids[n], gradient);
    for (std::size_t i = 0; i < applied[n].size(); ++i) ledger.applied[i] += applied[n][i];
  }
  CHECK(ledger.Error() == 0);
}

}  // namespace
}  // namespace leeway
