// RollbackRun: a run whose coordinator goes back to the checkpoint that the test gives it, as one process of the
// coordinator after another has it.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proto/checkpoint.pb.h"
#include "server/coordinator/checkpoint_committer.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/support/crash_files.h"

namespace leeway {

// Has the checkpoint that the test gives it.
class GivenCheckpoint final : public CheckpointCommitter {
 public:
  void Begin(std::uint64_t, Done done) override {
    ++begun;
    done(absl::InternalError("none is to be taken"));
  }
  void Commit(v1::CheckpointIndex, std::uint64_t, Done done) override {
    done(absl::InternalError("none is to be taken"));
  }
  void ChooseNewestGood(std::uint64_t at_most, Chosen done) override {
    asked.push_back(at_most);
    if (holds) return held.push_back(std::move(done));
    if (!unreadable.ok()) return done(unreadable);
    if (checkpoint) return done(*checkpoint);
    done(absl::NotFoundError("dir holds no good checkpoint"));
  }

  std::optional<v1::CheckpointIndex> checkpoint;
  absl::Status unreadable;  // why none can be chosen just now
  std::vector<std::uint64_t> asked;
  bool holds = false;  // then it is still looking
  std::vector<Chosen> held;
  int begun = 0;
};

// The run, as one process of its coordinator after another has it.
struct RollbackRun {
  explicit RollbackRun(double factor = 0) : files(1), factor(factor) { Begin(); }

  void Begin() {
    f.reset();
    f.emplace(LeasedPolicy(2), 2, &files, [this](Coordinator::Options* options) {
      options->committer = &committer;
      options->rollback_on_divergence = factor;
      options->on_go_back = [this](std::uint64_t era, const std::string& base) { gone_back.emplace_back(era, base); };
    });
    f->journals = true;
  }
  // As FileCoordinatorStore's state says it now.
  void NoteCheckpoint() {
    v1::CheckpointIndex index;
    index.set_step(f->Status().steps());
    f->store->Stop();
    files.Restart(CrashFiles::Loss::kProcess);
    FakeClock clock;
    PumpedExecutor disk;
    *index.mutable_coordinator_state() =
        (*FileCoordinatorStore::Open("dir", &files, &clock, &disk))->TakeSaved()->state;
    committer.checkpoint = index;
  }
  v1::WatchRequest RestartedWatch(std::uint32_t shard) {
    f->known.erase(shard);
    v1::WatchRequest request = f->WatchOf(shard);
    request.set_generation(8000 + shard);
    request.set_keeps_journal(false);
    return request;
  }

  CrashFiles files;
  const double factor;
  GivenCheckpoint committer;
  std::vector<std::pair<std::uint64_t, std::string>> gone_back;
  std::optional<CoordinatorFixture> f;
};

}  // namespace leeway
