// Shard: pushes in every encoding, with `each` and in rounds.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/encodings/encoding.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/encode_run.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Floats = std::vector<float>;

constexpr v1::Encoding kEncodings[] = {v1::F32, v1::BF16, v1::INT8, v1::TOP_K};

Floats RandomFloats(std::uint64_t seed, std::size_t count) {
  Random random(seed);
  Floats floats(count);
  for (float& value : floats) value = static_cast<float>(random.Unit() - 0.5);
  return floats;
}

v1::PushRequest EncodedPush(const ShardFixture& f, std::uint32_t id, std::uint64_t clock, v1::Encoding encoding) {
  v1::PushRequest push = f.PushOf(id, clock);
  push.set_encoding(encoding);
  return push;
}

TEST_CASE("Shard: a push in any encoding steps by what it decodes to") {
  for (const v1::Encoding encoding : kEncodings) {
    CAPTURE(v1::Encoding_Name(encoding));
    ShardFixture f(ExactPolicy(8));
    f.Start(1);
    Floats want(kSmall);
    for (std::uint64_t step = 0; step < 3; ++step) {
      const Buffer payload = EncodeRun(f.placement, f.Run(), encoding, RandomFloats(TestSeed() + step, kSmall), 0.05);
      const Floats gradient = *DecodeRun(f.placement, f.Run(), encoding, payload);
      for (std::size_t i = 0; i < kSmall; ++i) want[i] -= gradient[i];
      const auto answer = f.Push(EncodedPush(f, 0, step, encoding), payload);
      CHECK(f.Stats().inflight_bytes() == payload.size());
      f.executor.RunAll();
      REQUIRE(answer->ok());
      CHECK(answer->message.verdict() == v1::APPLIED);
    }
    CHECK(f.Weights() == want);
  }
}

TEST_CASE("Shard: a payload that does not decode is refused before its chunk counts as come") {
  for (const v1::Encoding encoding : kEncodings) {
    CAPTURE(v1::Encoding_Name(encoding));
    ShardFixture f(ExactPolicy(8));
    f.Start(1);
    const std::string bytes = EncodeRun(f.placement, f.Run(), encoding, Floats(kSmall, 1), 1).ToString();
    const auto bad = f.Push(EncodedPush(f, 0, 0, encoding), Buffer::FromString(bytes.substr(1)));
    f.executor.RunAll();
    const std::string size = std::to_string(bytes.size() - 1);
    CHECK(Says(bad->status, Code::kInvalidArgument, {v1::Encoding_Name(encoding).c_str(), size.c_str()}));
    CHECK(f.Stats().chunks_nonfinite() == 0);
    const auto good = f.Push(EncodedPush(f, 0, 0, encoding), Buffer::FromString(bytes));
    f.executor.RunAll();
    REQUIRE(good->ok());
    CHECK(good->message.verdict() == v1::APPLIED);
    CHECK_FALSE(good->message.duplicate());
    CHECK(f.Weights() == Floats(kSmall, -1));
  }
}

TEST_CASE("Shard: a value that is only non-finite once it is decoded is refused") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  std::string bytes = EncodeRun(f.placement, f.Run(), v1::INT8, Floats(kSmall, 1)).ToString();
  const float scale = std::numeric_limits<float>::max() / 2;  // finite itself
  std::memcpy(bytes.data(), &scale, sizeof scale);
  const auto answer = f.Push(EncodedPush(f, 0, 0, v1::INT8), Buffer::FromString(bytes));
  f.executor.RunAll();
  CHECK(Says(answer->status, Code::kInvalidArgument, {"non-finite", "element 0"}));
  CHECK(f.Weights() == Floats(kSmall, 0));
  CHECK(f.Stats().pushes_refused() == 1);
}

// What a worker sends whose GPU could not encode a block (kernels/vector_ops.h).
TEST_CASE("Shard: a chunk with a block that says NaN is refused, and counts for quarantine") {
  ShardFixture f(ExactPolicy(8));
  f.Start(1);
  std::uint64_t step = 0;
  for (const v1::Encoding encoding : {v1::INT8, v1::TOP_K}) {
    Floats gradient(kSmall, 0);
    gradient[f.placement.block_elements()] = 1;
    std::string bytes = EncodeRun(f.placement, f.Run(), encoding, gradient, 1e-9).ToString();
    const float nan = std::nanf("");
    std::size_t second = EncodedBytes(encoding, f.placement.block_elements(), 1);
    if (encoding == v1::TOP_K) second += 8;  // behind the count and the one index
    std::memcpy(bytes.data() + second, &nan, sizeof nan);
    const auto answer = f.Push(EncodedPush(f, 0, step++, encoding), Buffer::FromString(bytes));
    f.executor.RunAll();
    const std::string element = absl::StrCat("element ", f.placement.block_elements());
    CHECK(Says(answer->status, Code::kInvalidArgument, {"non-finite", element.c_str()}));
    CHECK(f.Weights() == Floats(kSmall, 0));
    CHECK(f.Stats().pushes_refused() == step);
    CHECK(f.Stats().chunks_nonfinite() == step);
    REQUIRE(f.shard.Describe().nonfinite_runs_size() == 1);
    CHECK(f.shard.Describe().nonfinite_runs(0).current() == step);
  }
}

TEST_CASE("Shard: a round of different encodings is the mean of what they decode to, held as they came") {
  ShardFixture f(ExactPolicy(0, v1::ROUND));
  f.Start(4);
  Floats sum(kSmall);
  std::uint64_t bytes = 0;
  std::vector<std::shared_ptr<Answer<v1::PushReply>>> answers;
  for (std::uint32_t id = 0; id < 4; ++id) {
    const Buffer payload = EncodeRun(f.placement, f.Run(), kEncodings[id], RandomFloats(TestSeed() + id, kSmall), 0.05);
    const Floats gradient = *DecodeRun(f.placement, f.Run(), kEncodings[id], payload);
    for (std::size_t i = 0; i < kSmall; ++i) sum[i] += 0.25f * gradient[i];
    bytes += payload.size();
    answers.push_back(f.Push(EncodedPush(f, id, 0, kEncodings[id]), payload));
    f.executor.RunAll();
    CHECK(f.Stats().held_bytes() == bytes);
    REQUIRE(answers.back()->ok());
    CHECK(answers.back()->message.verdict() == v1::HELD);
  }
  v1::RoundClose& close = *f.snapshot.add_closes();
  for (std::uint32_t rank = 0; rank < 4; ++rank) close.add_ranks(rank);
  close.set_samples(4);
  REQUIRE(f.Publish().ok());
  for (float& value : sum) value = 0.0f - value;
  CHECK(f.Weights() == sum);
  CHECK(f.Stats().held_bytes() == 0);
}

}  // namespace
}  // namespace leeway
