// PushWindow: one worker's recent pushes on one shard: which chunks have come, what became of them, and so
// the worker's clock. What makes a push that is sent twice count once.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: a chunk goes unseen -> applying -> done(verdict), once. The clock is the number of steps, from
// the start without a gap, whose every chunk is done. Steps below the clock are over: their chunks answer
// with the step's verdict for `kRemembered` steps, and as APPLIED after that.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/parameter_server.pb.h"

namespace leeway {

class PushWindow {
 public:
  // A worker has at most pipeline depth + 2 steps between its oldest unanswered chunk and its newest;
  // depths above 14 are refused at Join.
  static constexpr std::uint64_t kAhead = 16;
  static constexpr std::size_t kRemembered = 16;

  explicit PushWindow(std::uint64_t clock = 0) : clock_(clock) {}

  std::uint64_t clock() const { return clock_; }

  struct Seen {
    enum State { kFresh, kApplying, kDone } state = kFresh;
    v1::Verdict verdict = v1::VERDICT_NONE;  // when done
  };
  // A chunk has come. kFresh: it is marked as applying, and the caller must Finish it.
  // INVALID_ARGUMENT: chunk >= chunk_count, no chunks, or another chunk_count than this step's earlier
  // chunks said. OUT_OF_RANGE: `step` is kAhead or more above the clock.
  absl::StatusOr<Seen> Begin(std::uint64_t step, std::uint32_t chunk, std::uint32_t chunk_count);

  // As Begin, but changes nothing and checks nothing; kFresh: it has not come.
  Seen Look(std::uint64_t step, std::uint32_t chunk) const;

  // The chunk that Begin called fresh has its verdict.
  void Finish(std::uint64_t step, std::uint32_t chunk, v1::Verdict verdict);

  // A null push: every chunk of `step` that has not come gets `verdict`. Errors: OUT_OF_RANGE.
  absl::Status Settle(std::uint64_t step, v1::Verdict verdict);

  // What a whole step came to.
  struct Step {
    std::uint64_t step = 0;
    v1::Verdict verdict = v1::VERDICT_NONE;
    bool any_applied = false;  // on at least one chunk
    bool partial = false;      // on some chunks and not on others
  };
  // The steps that have become whole since the last call, in order; the clock advances past them.
  std::vector<Step> TakeWhole();

  // True when some chunk of `step` is being applied or has been: what a death leaves behind is partial.
  bool Started(std::uint64_t step) const;
  std::uint64_t highest() const { return clock_ + open_.size(); }

  // Jumps to `clock` (a re-entry, a closed round); steps below it are over, with `verdict`.
  void JumpTo(std::uint64_t clock, v1::Verdict verdict);

 private:
  enum class ChunkState : std::uint8_t { kUnseen, kApplying, kDone };
  struct Chunk {
    ChunkState state = ChunkState::kUnseen;
    v1::Verdict verdict = v1::VERDICT_NONE;
  };
  struct OpenStep {
    std::vector<Chunk> chunks;  // empty: nothing has come
    bool settled = false;       // by a null push, before any chunk said how many there are
    v1::Verdict settled_verdict = v1::VERDICT_NONE;
    bool Whole() const;
  };
  OpenStep& At(std::uint64_t step);
  v1::Verdict OldVerdict(std::uint64_t step) const;
  void Retire(v1::Verdict verdict);

  std::uint64_t clock_;
  std::deque<OpenStep> open_;     // [0] is step clock_
  std::deque<v1::Verdict> past_;  // back() is step clock_ - 1
};

}  // namespace leeway
