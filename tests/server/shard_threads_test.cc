// Shard on a real thread pool: many workers at once, every request sent several times.
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "common/mutex.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/shard_fixture.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

// Calls and waits.
template <typename Message>
class Waiter {
 public:
  ReplyCallback Callback() {
    return [this](absl::Status status, Buffer bytes) {
      MutexLock lock(mu_);
      ++calls_;
      if (status.ok()) status = DecodeMessage(bytes, &message_, &payload_);
      status_ = status;
      done_.NotifyAll();
    };
  }
  absl::Status Wait() {
    MutexLock lock(mu_);
    while (calls_ == 0) done_.Wait(mu_);
    return status_;
  }
  const Message& message() const { return message_; }
  const Buffer& payload() const { return payload_; }

 private:
  Mutex mu_;
  CondVar done_;
  int calls_ = 0;
  absl::Status status_;
  Message message_;
  Buffer payload_;
};

// The deliberate race of server/block_store.h would be reported: there this test reads copies.
#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

TEST_CASE("Shard on threads: every push counts once, no pull is above the bound, nothing hangs") {
  constexpr std::uint32_t kWorkers = 3;
  constexpr std::uint64_t kSteps = 60;
  constexpr std::uint64_t kBound = 2;
  ShardFixture messages(ExactPolicy(kBound));  // for the snapshot and the requests only
  messages.Start(kWorkers);
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  std::unique_ptr<Executor> executor = MakeThreadPool(3);
  Shard shard({}, clock.get(), executor.get());
  REQUIRE(shard.ApplySnapshot(messages.snapshot).ok());

  std::vector<absl::Status> results(kWorkers);
  std::vector<std::thread> threads;
  std::atomic<std::uint64_t> too_early{0};
  for (std::uint32_t id = 0; id < kWorkers; ++id) {
    threads.emplace_back([&, id] {
      Random random(TestSeed() + id);
      for (std::uint64_t step = 0; step < kSteps; ++step) {
        for (bool admitted = false; !admitted;) {
          Waiter<v1::PullReply> pull;
          v1::PullRequest request = messages.PullOf(id, step, step, 50);
          request.set_copy(kThreadSanitizer);
          shard.Pull(EncodeMessage(request), pull.Callback());
          if (results[id] = pull.Wait(); !results[id].ok()) return;
          admitted = !pull.message().has_not_yet();
          if (admitted && step > pull.message().min_clock() + kBound) ++too_early;
          // What is promised is in it: the own pushes, and everyone's up to the bound.
          if (admitted && ToFloats(pull.payload())[0] > -static_cast<float>(step)) ++too_early;
        }
        const std::uint64_t copies = 1 + random.Below(3);
        std::vector<Waiter<v1::PushReply>> pushes(copies);
        for (auto& push : pushes) {
          shard.Push(EncodeMessage(messages.PushOf(id, step), Filled(kSmall, 1)), push.Callback());
        }
        for (auto& push : pushes) {
          if (results[id] = push.Wait(); !results[id].ok()) return;
          if (push.message().verdict() != v1::APPLIED) results[id] = absl::InternalError("not applied");
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : results) CHECK(status.ok());
  CHECK(too_early == 0);
  const auto weights = ToFloats(shard.store()->ReadCopy(messages.Run()));
  CHECK(weights == std::vector<float>(kSmall, -static_cast<float>(kWorkers * kSteps)));
  CHECK(shard.Describe().stats().version() == kWorkers * kSteps);
  shard.Shutdown("over");
  clock->Stop();
  executor.reset();
}

TEST_CASE("Shard on threads: with dc both of two pulls bring the same, and every push is corrected once") {
  constexpr std::uint32_t kWorkers = 3;
  constexpr std::uint64_t kSteps = 60;
  v1::Policy policy = ExactPolicy(-1);
  policy.set_dc_lambda(0x1p-10);
  ShardFixture messages(policy);  // for the snapshot and the requests only
  messages.Start(kWorkers);
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  std::unique_ptr<Executor> executor = MakeThreadPool(3);
  Shard shard({}, clock.get(), executor.get());
  REQUIRE(shard.ApplySnapshot(messages.snapshot).ok());

  std::vector<absl::Status> results(kWorkers);
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < kWorkers; ++id) {
    threads.emplace_back([&, id] {
      for (std::uint64_t step = 0; step < kSteps; ++step) {
        Waiter<v1::PullReply> pulls[2];
        v1::PullRequest request = messages.PullOf(id, step, step);
        request.set_attempt(step + 1);
        for (auto& pull : pulls) shard.Pull(EncodeMessage(request), pull.Callback());
        for (auto& pull : pulls) {
          if (results[id] = pull.Wait(); !results[id].ok()) return;
        }
        const bool same = ToFloats(pulls[0].payload()) == ToFloats(pulls[1].payload()) &&
                          pulls[0].message().version() == pulls[1].message().version();
        if (!same) results[id] = absl::InternalError("another answer");
        if (!same) return;
        Waiter<v1::PushReply> pushes[2];
        for (auto& push : pushes) {
          shard.Push(EncodeMessage(messages.PushOf(id, step), Filled(kSmall, 1)), push.Callback());
        }
        for (auto& push : pushes) {
          if (results[id] = push.Wait(); !results[id].ok()) return;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : results) CHECK(status.ok());
  const auto weights = ToFloats(shard.store()->ReadCopy(messages.Run()));
  CHECK(weights[0] < 0);
  CHECK(weights[0] >= -static_cast<float>(kWorkers * kSteps));  // the others' steps make a gradient smaller
  const v1::ShardStats stats = shard.Describe().stats();
  CHECK(stats.chunks_corrected() == kWorkers * kSteps);
  CHECK(stats.chunks_uncorrected() == 0);
  CHECK(stats.held_bytes() == 0);
  shard.Shutdown("over");
  clock->Stop();
  executor.reset();
}

}  // namespace
}  // namespace leeway
