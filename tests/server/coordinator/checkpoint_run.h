// CheckpointRun: a coordinator that takes checkpoints, with a committer and shards that do what the test says.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proto/checkpoint.pb.h"
#include "server/coordinator/checkpoint_committer.h"
#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"

namespace leeway {

// Commits at once, or says `refusal`.
class TestCommitter final : public CheckpointCommitter {
 public:
  void Begin(std::uint64_t step, Done done) override {
    begun.push_back(step);
    done(begin_refusal);
  }
  void Commit(v1::CheckpointIndex index, std::uint64_t steps, Done done) override {
    indices.push_back(std::move(index));
    trusted.push_back(steps);
    done(refusal);
  }
  void ChooseNewestGood(std::uint64_t, Chosen done) override { done(absl::NotFoundError("none")); }

  absl::Status begin_refusal;
  absl::Status refusal;
  std::vector<std::uint64_t> begun;
  std::vector<v1::CheckpointIndex> indices;  // that were to be committed
  std::vector<std::uint64_t> trusted;        // said with each of these
};

// A coordinator with such a committer, and shards that say what the test has them say.
struct CheckpointRun {
  // `files`: as CoordinatorFixture's.
  explicit CheckpointRun(const v1::Policy& policy, std::uint64_t every_steps = 0, std::uint32_t shards = 2,
                         CrashFiles* files = nullptr, double rollback_on_divergence = 0,
                         absl::Duration interval = absl::InfiniteDuration())
      : f(policy, shards, files, [this, every_steps, rollback_on_divergence, interval](Coordinator::Options* options) {
          options->committer = &committer;
          options->checkpoint_steps = every_steps;
          options->checkpoint_interval = interval;
          options->checkpoint_dir = "dir";
          options->rollback_on_divergence = rollback_on_divergence;
        }) {
    f.journals = true;
  }

  // Shard `shard` has seen these steps of each worker, or (none) has written.
  void Tell(std::uint32_t shard, const std::map<std::uint32_t, std::uint64_t>& seen) {
    v1::WatchRequest request = f.WatchOf(shard);
    v1::CutReport& report = *request.mutable_cut();
    report.set_id(f.snapshot().cut().id());
    report.set_written(seen.empty());
    for (const auto& [worker, clock] : seen) {
      v1::MemberClock& member = *report.add_seen();
      member.set_worker_id(worker);
      member.set_incarnation(f.StampOf(worker).incarnation());
      member.set_clock(clock);
    }
    Send(shard, request);
  }
  // Shard `shard` holds pushes of rounds below `round`, of workers that have left.
  void Holds(std::uint32_t shard, std::uint64_t round) {
    v1::WatchRequest request = f.WatchOf(shard);
    request.mutable_cut()->set_id(f.snapshot().cut().id());
    request.mutable_cut()->set_round(round);
    Send(shard, request);
  }
  void Fail(std::uint32_t shard, const std::string& error, bool not_finite = false) {
    v1::WatchRequest request = f.WatchOf(shard);
    request.mutable_cut()->set_id(f.snapshot().cut().id());
    request.mutable_cut()->set_error(error);
    request.mutable_cut()->set_not_finite(not_finite);
    Send(shard, request);
  }
  void Send(std::uint32_t shard, const v1::WatchRequest& request) {
    const auto answer = f.Call<v1::WatchReply>("WatchMembership", request);
    f.Advance(absl::Milliseconds(100));  // a tick too
    REQUIRE(answer->done());
    f.known[shard] = answer->message;
  }
  void WriteAll() {
    for (std::uint32_t shard = 0; shard < f.num_shards; ++shard) Tell(shard, {});
    f.Advance(absl::Milliseconds(200));
  }
  // All see nothing, so that the cut can be made, and write.
  void Take() {
    REQUIRE(f.snapshot().cut().id() != 0);
    for (std::uint32_t shard = 0; shard < f.num_shards; ++shard) Tell(shard, {{0, 0}});
    f.SyncShards();
    REQUIRE(f.snapshot().cut().limited());
    WriteAll();
    f.SyncShards();
  }
  // Heartbeats and watches go on.
  void Live(absl::Duration duration, const std::vector<std::uint32_t>& workers) {
    for (absl::Duration passed; passed < duration; passed += absl::Seconds(1)) {
      f.Advance(absl::Seconds(1));
      for (const std::uint32_t worker : workers) CHECK(f.Heartbeat(worker).ok());
      f.SyncShards();
    }
  }

  TestCommitter committer;
  CoordinatorFixture f;
};

}  // namespace leeway
