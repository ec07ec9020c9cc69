// Shard: delay_policy=dc: what a worker was given, and what becomes of its gradient.
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/server/shard_fixture.h"
#include "tests/server/shard_process.h"
#include "tests/support/encode_run.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Floats = std::vector<float>;

// SGD at rate 1, lambda 0.25: powers of two stay exact.
v1::Policy Dc() {
  v1::Policy policy = ExactPolicy(-1);
  policy.set_dc_lambda(0.25);
  return policy;
}

// Pulls the whole of chunk `chunk`, as a worker that counts its pulls.
std::shared_ptr<Answer<v1::PullReply>> Pull(ShardFixture& f, std::uint32_t id, std::uint64_t step,
                                            std::uint64_t attempt = 1, v1::Encoding encoding = v1::F32,
                                            std::uint64_t base = 0, std::uint32_t chunk = 0) {
  v1::PullRequest pull = f.PullOf(id, step, 0);
  pull.set_attempt(attempt);
  pull.set_encoding(encoding);
  pull.set_base(base);
  pull.mutable_run()->set_first_block(f.Run(chunk).first_block);
  pull.mutable_run()->set_num_blocks(f.Run(chunk).num_blocks);
  const auto answer = f.Pull(pull);
  f.executor.RunAll();
  REQUIRE(answer->ok());
  REQUIRE_FALSE(answer->message.has_not_yet());
  return answer;
}

float Weight(ShardFixture& f) {
  const Floats weights = f.Weights();
  CHECK(weights == Floats(weights.size(), weights[0]));
  return weights[0];
}

TEST_CASE("dc: a gradient is corrected by what the weights have moved since its worker read them") {
  ShardFixture f(Dc());
  f.Start(2);
  Pull(f, 0, 0);
  Pull(f, 1, 0);
  f.PushValue(0, 0, 4);  // nothing has moved
  CHECK(Weight(f) == -4);
  f.PushValue(1, 0, 2);  // 2 + 0.25 * 4 * (-4 - 0) = -2
  CHECK(Weight(f) == -2);
  CHECK(f.Stats().chunks_corrected() == 2);
  CHECK(f.Stats().chunks_uncorrected() == 0);
  CHECK(f.Stats().pushes_applied() == 2);
  CHECK(f.Stats().inflight_bytes() == 0);
}

TEST_CASE("dc: pieces of a pull are put together, and two chunks are kept apart") {
  ShardFixture f(Dc(), kLarge);
  f.Start(2);
  for (std::uint32_t chunk = 0; chunk < 2; ++chunk) {
    for (std::uint32_t i = 0; i < f.Run(chunk).num_blocks; ++i) {
      v1::PullRequest piece = f.PullOf(1, 0, 0);
      piece.set_attempt(1);
      piece.mutable_run()->set_first_block(f.Run(chunk).first_block + i);
      piece.mutable_run()->set_num_blocks(1);
      f.Pull(piece);
    }
    f.executor.RunAll();
    f.Push(f.PushOf(0, 0, chunk), Filled(f.Elements(chunk), chunk == 0 ? 4.0f : 8.0f));
    f.executor.RunAll();
  }
  CHECK(f.Stats().held_bytes() == 4 * kLarge);
  f.PushValue(1, 0, 2);
  CHECK(f.Weights(0) == Floats(f.Elements(0), -4 - (2 + 0.25f * 4 * -4)));
  CHECK(f.Weights(1) == Floats(f.Elements(1), -8 - (2 + 0.25f * 4 * -8)));
  CHECK(f.Stats().chunks_corrected() == 2);
  CHECK(f.Stats().chunks_uncorrected() == 2);  // worker 0's, which had not read
  CHECK(f.Stats().held_bytes() == 0);
}

TEST_CASE("dc: an answer that comes again is the same again, whatever was applied meanwhile") {
  ShardFixture f(Dc());
  f.Start(2);
  const auto first = Pull(f, 1, 0);
  f.PushValue(0, 0, 4);
  const auto again = Pull(f, 1, 0);
  CHECK(ToFloats(again->payload) == Floats(kSmall, 0));
  CHECK(again->message.version() == first->message.version());
  CHECK(f.Stats().held_bytes() == 4 * kSmall);
  // A new pull for the same step (the one before was dropped by its worker): new weights, and these count.
  const auto next = Pull(f, 1, 0, 2);
  CHECK(ToFloats(next->payload) == Floats(kSmall, -4));
  CHECK(next->message.version() == 1);
  // The first one once more, late: nobody waits for it.
  CHECK(ToFloats(Pull(f, 1, 0)->payload) == Floats(kSmall, -4));
  f.PushValue(1, 0, 2);
  CHECK(Weight(f) == -6);
}

TEST_CASE("dc: two repetitions at the same time bring the same") {
  for (const v1::Encoding encoding : {v1::F32, v1::BF16, v1::INT8}) {
    ShardFixture f(Dc());
    f.Start(2);
    std::uint64_t base = 0;
    if (encoding == v1::INT8) base = Pull(f, 1, 0, 1, encoding)->message.sequence();
    v1::PullRequest pull = f.PullOf(1, 1, 0);
    pull.set_attempt(2);
    pull.set_encoding(encoding);
    pull.set_base(base);
    std::vector<std::shared_ptr<Answer<v1::PullReply>>> answers;
    for (const float value : {127.0f, 254.0f, 381.0f}) {
      answers.push_back(f.Pull(pull));
      f.PushValue(0, answers.size() - 1, value);  // carries out what was asked, too
    }
    for (const auto& answer : answers) {
      REQUIRE(answer->ok());
      const bool delta = answer->message.delta();
      CHECK(delta == (encoding == v1::INT8 && answer == answers[0]));
      const Floats got = *DecodeRun(f.placement, f.Run(), answer->message.encoding(), answer->payload);
      CHECK(got == *DecodeRun(f.placement, f.Run(), answers[0]->message.encoding(), answers[0]->payload));
    }
    // The next difference is to what the last answer has left, though it said what the first had said.
    if (encoding != v1::INT8) continue;
    f.PushNull(1, 0, v1::APPLIED);
    const auto next = Pull(f, 1, 2, 3, encoding, answers[2]->message.sequence());
    CHECK(next->message.delta());
    Floats sum = ToFloats(answers[2]->payload);
    const Floats difference = *DecodeRun(f.placement, f.Run(), v1::INT8, next->payload);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += difference[i];
    CHECK(std::abs(sum[0] - Weight(f)) < 1.0f);
  }
}

TEST_CASE("dc: what counts is what was delivered: rounded to bf16, or off by a difference's rounding") {
  // bf16: the worker has 1, where the shard has a little more.
  const float little = 1 + 0x1p-9f;
  ShardFixture halves(Dc());
  halves.Start(1);
  halves.shard.store()->Write(halves.Run(), Filled(kSmall, little));
  Pull(halves, 0, 0, 1, v1::BF16);
  CHECK(halves.Stats().held_bytes() == 2 * kSmall);
  halves.PushValue(0, 0, 4);
  CHECK(Weight(halves) == little - (4 + 4 * 0x1p-9f));
  // Differences: one block moves by 127 and 0.25, and int8 has whole steps of 1.
  ShardFixture deltas(Dc());
  deltas.Start(1);
  const auto values = Pull(deltas, 0, 0, 1, v1::INT8);
  deltas.PushNull(0, 0, v1::APPLIED);
  Floats moved(kSmall, 0.25f);
  for (std::size_t i = 0; i < kSmall; i += 4096) moved[i] = 127;
  auto owner = std::make_shared<Floats>(moved);
  deltas.shard.store()->Write(deltas.Run(), Buffer::Wrap(owner, owner->data(), 4 * kSmall));
  const auto difference = Pull(deltas, 0, 1, 2, v1::INT8, values->message.sequence());
  REQUIRE(difference->message.delta());
  CHECK(deltas.Stats().held_bytes() == 2 * 4 * kSmall);  // what the next difference is to, and what this step has
  deltas.PushValue(0, 1, 4);
  for (const std::size_t i : {0, 1, 4095, 4096, 4097, 8192, 9999}) {
    const float want = i % 4096 == 0 ? 127 - 4 : 0.25f - (4 + 4 * 0.25f);  // the worker has 127 and 0
    CHECK(deltas.Weights()[i] == want);
  }
}

TEST_CASE("dc: a chunk that comes twice is corrected and applied once") {
  ShardFixture f(Dc());
  f.Start(2);
  Pull(f, 1, 0);
  f.PushValue(0, 0, 4);
  const auto first = f.Push(f.PushOf(1, 0), Filled(kSmall, 2));
  const auto meanwhile = f.Push(f.PushOf(1, 0), Filled(kSmall, 2));
  f.executor.RunAll();
  const auto later = f.PushValue(1, 0, 2);
  CHECK(first->message.verdict() == v1::APPLIED);
  CHECK(meanwhile->message.duplicate());
  CHECK(later->message.duplicate());
  CHECK(Weight(f) == -2);
  CHECK(f.Stats().chunks_corrected() == 1);
}

TEST_CASE("dc: what a worker was given is kept until its step has a verdict, or it has gone") {
  ShardFixture f(Dc());
  f.Start(2);
  Pull(f, 0, 0, 1);
  Pull(f, 0, 1, 2);
  Pull(f, 1, 0, 1);
  CHECK(f.Stats().held_bytes() == 3 * 4 * kSmall);
  f.PushNull(0, 0, v1::REFUSED);
  CHECK(f.Stats().held_bytes() == 2 * 4 * kSmall);
  f.PushValue(0, 1);
  CHECK(f.Stats().held_bytes() == 4 * kSmall);
  // An answer to a step that is over, or farther ahead than any push may be, is not kept.
  Pull(f, 0, 1, 3);
  Pull(f, 0, 2 + PushWindow::kAhead, 4);
  CHECK(f.Stats().held_bytes() == 4 * kSmall);
  Pull(f, 0, 1 + PushWindow::kAhead, 5);
  CHECK(f.Stats().held_bytes() == 2 * 4 * kSmall);
  f.RemoveMember(0);  // its lease has run out
  f.RemoveMember(1);
  REQUIRE(f.Publish().ok());
  CHECK(f.Stats().held_bytes() == 0);
}

TEST_CASE("dc: who comes back from parking pulls afresh") {
  ShardFixture f(Dc());
  f.Start(2);
  Pull(f, 0, 0);
  f.Member(0, v1::PARKED);
  REQUIRE(f.Publish().ok());
  CHECK(f.Stats().held_bytes() == 4 * kSmall);
  f.Member(0, v1::LIVE, 3);
  REQUIRE(f.Publish().ok());
  CHECK(f.Stats().held_bytes() == 0);
}

TEST_CASE("dc: what this shard does not know is applied as it came, and counted") {
  Shard::Options options;
  options.max_held_bytes = 2 * 3 * 4 * kSmall;  // half of it: each worker's weights once
  ShardFixture f(Dc(), kSmall, options);
  f.Member(3, v1::OBSERVER);  // who needs none
  f.Start(3);
  Pull(f, 1, 0);
  Pull(f, 1, 1, 2);  // has had its share: it takes nobody's room
  Pull(f, 1, 2, 3);
  Pull(f, 0, 0);
  CHECK(f.Stats().held_bytes() == 2 * 4 * kSmall);
  f.PushValue(2, 0, 4);  // it has not read
  CHECK(Weight(f) == -4);
  f.PushValue(1, 0, 2);  // 2 + 0.25 * 4 * (-4 - 0) = -2
  CHECK(Weight(f) == -2);
  f.PushValue(1, 1, 2);
  CHECK(Weight(f) == -4);
  CHECK(f.Stats().chunks_uncorrected() == 2);
  f.PushValue(0, 0, 2);  // -2, as above
  CHECK(Weight(f) == -2);
  CHECK(f.Stats().chunks_corrected() == 2);
}

TEST_CASE("dc: evaluators are given nothing to keep, and without dc nobody is") {
  ShardFixture f(Dc());
  f.Member(0, v1::OBSERVER);
  f.Start(0);
  v1::PullRequest copy = f.PullOf(0, 0, 0);
  copy.set_copy(true);
  f.Pull(copy);
  Pull(f, 0, 0);
  CHECK(f.Stats().held_bytes() == 0);
  ShardFixture plain(ExactPolicy(-1));
  plain.Start(1);
  Pull(plain, 0, 0);
  CHECK(plain.Stats().held_bytes() == 0);
  plain.PushValue(0, 0);
  CHECK(plain.Stats().chunks_uncorrected() == 0);
}

TEST_CASE("dc: a correction that is not finite is left out; a gradient that is not finite is refused") {
  ShardFixture f(Dc());
  f.Start(2);
  Pull(f, 1, 0);
  f.PushValue(0, 0, 4);
  f.PushValue(1, 0, 0x1p70f);  // its square is infinite
  CHECK(Weight(f) == -0x1p70f);
  CHECK(f.Stats().chunks_nonfinite() == 0);
  Pull(f, 1, 1, 2);
  CHECK(absl::IsInvalidArgument(f.PushValue(1, 1, std::numeric_limits<float>::infinity())->status));
  CHECK(Weight(f) == -0x1p70f);
  CHECK(f.Stats().held_bytes() == 0);
}

TEST_CASE("dc: what is corrected counts as float32 against its worker's share") {
  ShardFixture f(Dc());
  f.Start(1);
  Pull(f, 0, 0);
  v1::PushRequest push = f.PushOf(0, 0);
  push.set_encoding(v1::INT8);
  f.Push(push, EncodeRun(f.placement, f.Run(), v1::INT8, Floats(kSmall, 1), 0));
  CHECK(f.Stats().inflight_bytes() == 4 * kSmall);
  f.executor.RunAll();
  CHECK(f.Stats().inflight_bytes() == 0);
}

TEST_CASE("dc: a step is corrected when it was read under dc, whatever the policy says when it comes") {
  ShardFixture f(ExactPolicy(-1));
  f.Start(2);
  Pull(f, 1, 0);
  const auto decide = [&f](const v1::Policy& next, std::uint64_t limit) {
    v1::PolicyChange& change = *f.snapshot.mutable_policy_change();
    change.Clear();
    change.set_id(next.dc_lambda() > 0 ? 1 : 2);
    REQUIRE(f.Publish().ok());
    *change.mutable_previous() = f.snapshot.policy();
    change.set_decided(true);
    for (const std::uint32_t id : {0, 1}) {
      v1::StepLimit& to = *change.add_limits();
      to.set_worker_id(id);
      to.set_incarnation(f.StampOf(id).incarnation());
      to.set_clock(limit);
    }
    const std::uint64_t number = f.snapshot.policy().number();
    *f.snapshot.mutable_policy() = next;
    f.snapshot.mutable_policy()->set_number(number + 1);
    REQUIRE(f.Publish().ok());
  };
  decide(Dc(), 1);  // from step 1 on
  f.PushValue(0, 0, 4);
  f.PushValue(1, 0, 2);  // of before: as it comes
  CHECK(Weight(f) == -6);
  CHECK(f.Stats().chunks_uncorrected() == 0);
  Pull(f, 0, 1, 2);
  Pull(f, 1, 1, 2);
  decide(ExactPolicy(-1), 2);
  f.PushValue(0, 1, 4);
  f.PushValue(1, 1, 2);  // read at -6, now -10: 2 + 0.25 * 4 * -4 = -2
  CHECK(Weight(f) == -8);
  CHECK(f.Stats().chunks_corrected() == 2);
  Pull(f, 0, 2, 3);
  CHECK(f.Stats().held_bytes() == 0);
}

// --- The journal -----------------------------------------------------------------------------------------

TEST_CASE("dc: a killed shard comes back with the same bits; a step read from the process before counts as it comes") {
  CrashFiles files(1);
  v1::WatchReply snapshot;
  Floats before;
  {
    Process process(files, Dc(), kSmall, 1);
    ShardFixture& f = process.fixture;
    f.Start(2);
    for (std::uint64_t step = 0; step < 4; ++step) {
      Pull(f, 0, step, step + 1);
      Pull(f, 1, step, step + 1, step % 2 == 0 ? v1::BF16 : v1::INT8);
      f.PushValue(0, step, 0.3f + static_cast<float>(step));
      v1::PushRequest push = f.PushOf(1, step);
      push.set_encoding(v1::INT8);
      Floats gradient(kSmall);
      for (std::size_t i = 0; i < kSmall; ++i) gradient[i] = static_cast<float>(i % 97) / 31 - 1;
      f.Push(push, EncodeRun(f.placement, f.Run(), v1::INT8, gradient, 0));
      process.RunAll();
    }
    Pull(f, 1, 4, 5);
    CHECK(f.Stats().chunks_corrected() == 8);
    CHECK(f.Stats().inflight_bytes() == 0);
    before = f.Weights();
    snapshot = f.snapshot;
    files.Restart(CrashFiles::Loss::kProcess);
  }
  Process process(files, Dc(), kSmall, 2, &snapshot);
  ShardFixture& f = process.fixture;
  CHECK(f.Weights() == before);
  CHECK(f.Stats().held_bytes() == 0);
  Pull(f, 0, 4, 5);
  const auto zero = f.PushValue(0, 4, 2);
  const auto one = f.PushValue(1, 4, 2);  // it has read from the process before
  process.RunAll();
  CHECK(zero->message.verdict() == v1::APPLIED);
  CHECK(one->message.verdict() == v1::APPLIED);
  CHECK(f.Stats().chunks_corrected() == 1);
  CHECK(f.Stats().chunks_uncorrected() == 1);
  for (float& weight : before) weight = (weight - 2) - 2;
  CHECK(f.Weights() == before);
}

}  // namespace
}  // namespace leeway
