#include "worker/client/seen_weights.h"

#include <cmath>
#include <string>
#include <vector>

#include "kernels/encodings/encoding.h"
#include "tests/catch.h"

namespace leeway {
namespace {

constexpr std::uint64_t kElements = 100;
constexpr ChunkId kChunk{0, 0};

v1::PullReply Reply(std::uint64_t sequence, bool delta, std::uint64_t generation = 9) {
  v1::PullReply reply;
  reply.set_sequence(sequence);
  reply.set_delta(delta);
  reply.set_generation(generation);
  return reply;
}

Buffer Encoded(v1::Encoding encoding, float value) {
  const std::vector<float> values(kElements, value);
  std::string bytes(EncodedBytes(encoding, kElements), '\0');
  EncodeBlock(encoding, values.data(), kElements, 0, bytes.data());
  return Buffer::FromString(std::move(bytes));
}

struct Seen {
  // What an answer makes of the vector; NaN: it has to be asked for again.
  float Take(std::uint64_t base, const v1::PullReply& reply, float value) {
    std::vector<float> vector(kElements, -1.0f);
    const auto taken =
        weights.Take(kChunk, base, reply, Encoded(reply.delta() ? v1::INT8 : v1::F32, value), vector.data());
    REQUIRE(taken.ok());
    if (!*taken) return NAN;
    REQUIRE(vector == std::vector<float>(kElements, vector[0]));
    return vector[0];
  }
  SeenWeights weights{Placement::Make(kElements, 1).value()};
};

TEST_CASE("Differences are added to what their base left") {
  Seen seen;
  CHECK(seen.weights.Base(kChunk) == 0);
  CHECK(seen.Take(0, Reply(1, false), 10) == 10);
  CHECK(seen.weights.Base(kChunk) == 1);
  CHECK(seen.Take(1, Reply(2, true), 127) == 137);
  CHECK(seen.Take(2, Reply(3, true), -127) == 10);
  CHECK(seen.weights.Base(kChunk) == 3);
  CHECK(seen.Take(3, Reply(4, false), 5) == 5);  // full values start anew
  CHECK(seen.Take(4, Reply(5, true), 127) == 132);
}

TEST_CASE("An answer that comes late changes nothing: what is here is newer") {
  Seen seen;
  REQUIRE(seen.Take(0, Reply(5, false), 10) == 10);
  CHECK(seen.Take(5, Reply(7, false), 20) == 20);  // overtook 6
  CHECK(seen.Take(5, Reply(6, true), 127) == 20);
  CHECK(seen.Take(0, Reply(4, false), 3) == 20);
  CHECK(seen.weights.Base(kChunk) == 7);
}

TEST_CASE("A difference to something that is not here is not taken, and the next request asks for everything") {
  Seen seen;
  REQUIRE(seen.Take(0, Reply(5, false), 10) == 10);
  CHECK(std::isnan(seen.Take(6, Reply(7, true), 127)));
  CHECK(seen.weights.Base(kChunk) == 0);
  CHECK(seen.Take(0, Reply(8, false), 1) == 1);
  seen.weights.Forget();
  CHECK(seen.weights.Base(kChunk) == 0);
  CHECK(std::isnan(seen.Take(8, Reply(9, true), 127)));
}

TEST_CASE("A server that was started anew begins to count anew") {
  Seen seen;
  REQUIRE(seen.Take(0, Reply(50, false), 10) == 10);
  CHECK(seen.Take(50, Reply(1, false, 77), 20) == 20);
  CHECK(seen.Take(1, Reply(2, true, 77), 127) == 147);
  CHECK(std::isnan(seen.Take(2, Reply(51, true, 9), 127)));
}

TEST_CASE("A server that keeps nothing for this worker gives full values without a number") {
  Seen seen;
  REQUIRE(seen.Take(0, Reply(50, false), 10) == 10);
  CHECK(seen.Take(50, Reply(0, false), 20) == 20);
  CHECK(seen.weights.Base(kChunk) == 0);
}

TEST_CASE("An answer of the wrong size is an error") {
  Seen seen;
  std::vector<float> vector(kElements);
  REQUIRE(seen.Take(0, Reply(1, false), 10) == 10);
  for (const bool delta : {false, true}) {
    const auto taken = seen.weights.Take(kChunk, 1, Reply(2, delta), Buffer::FromString("abc"), vector.data());
    CHECK(absl::IsInternal(taken.status()));
  }
}

}  // namespace
}  // namespace leeway
