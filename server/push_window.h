// PushWindow: one worker's recent pushes on one shard: which chunks have come, what became of them, and so
// the worker's clock. What makes a push that is sent twice count once.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: a chunk goes unseen -> applying -> done(verdict), once. The clock is the number of steps, from
// the start without a gap, whose every chunk is done; a re-entry or a closed round moves it on. Steps below the
// clock are over, but for those that a re-entry has left open. Steps that were jumped over are DROPPED; of the others
// the newest `kRemembered` have their chunks' verdicts, and older ones are APPLIED.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/parameter_server.pb.h"
#include "proto/shard_state.pb.h"

namespace leeway {

class PushWindow {
 public:
  // A worker has at most pipeline depth + 2 steps between its oldest unanswered chunk and its newest;
  // depths above 14 are refused at Join.
  static constexpr std::uint64_t kAhead = 16;
  static constexpr std::size_t kRemembered = kAhead;  // of what is older no answer is outstanding

  explicit PushWindow(std::uint64_t clock = 0) : clock_(clock) {}

  std::uint64_t clock() const { return clock_; }
  // One above the newest step of which something has come; the clock if nothing has.
  std::uint64_t highest() const { return clock_ + open_.size(); }

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
    bool any_refused = false;  // a chunk, or all that had not come by a null push
  };
  // The steps that have become whole since the last call, each once: first those behind the clock, then, in order,
  // those that the clock advances past.
  std::vector<Step> TakeWhole();

  // Is the step open: may a chunk or a null push of it still change something?
  bool Open(std::uint64_t step) const { return step >= clock_ || behind_.count(step) > 0; }

  // Open steps below `end`, ascending; from the clock on only the first kAhead.
  std::vector<std::uint64_t> OpenBelow(std::uint64_t end) const;
  bool Begun(std::uint64_t step) const;  // open: something has come of it
  // The newest steps before the last re-entry that have come, whole, before it or since.
  const std::set<std::uint64_t>& given() const { return given_; }

  // How many open steps have a chunk that is being applied or has been: what a death leaves of them is partial.
  std::size_t Started() const;

  // A first entry, or a closed round: goes on at `clock` if that is ahead; the steps below it are over, with `verdict`.
  void JumpTo(std::uint64_t clock, v1::Verdict verdict);

  // All of it, but for chunks that are being applied: they have not come.
  v1::WindowState Save() const;
  // DATA_LOSS: what no window saves.
  static absl::StatusOr<PushWindow> Restore(const v1::WindowState& state);

  // After parking: goes on at `clock` if that is ahead. Pushes that are under way meanwhile stay what they are: the
  // next kAhead steps, more than a worker can have under way, stay open behind the clock. At most kAhead steps do; of
  // older ones what has not come is DROPPED.
  void Reenter(std::uint64_t clock);

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
    bool Started() const;
    Step Outcome(std::uint64_t step) const;  // requires Whole()
    void Settle(v1::Verdict verdict);
    v1::WindowState::Step Save() const;
    static absl::StatusOr<OpenStep> Restore(const v1::WindowState::Step& state);
  };
  OpenStep* Find(std::uint64_t step);  // null: it is over
  // A step that is over.
  struct Past {
    v1::Verdict verdict = v1::VERDICT_NONE;
    std::map<std::uint32_t, v1::Verdict> otherwise;  // chunks of a partial push with another verdict than that
  };
  v1::Verdict OldVerdict(std::uint64_t step, std::uint32_t chunk) const;
  void Remember(std::uint64_t step, v1::Verdict verdict, const std::vector<Chunk>& chunks = {});
  void Given(std::uint64_t step, v1::Verdict verdict);

  std::uint64_t clock_;
  std::deque<OpenStep> open_;                 // [0] is step clock_
  std::map<std::uint64_t, OpenStep> behind_;  // below clock_, left open by a re-entry
  std::set<std::uint64_t> given_;             // the newest 2 kAhead
  // The newest kRemembered steps that are over and not DROPPED. By number it would not do: with a quorum any number of
  // rounds may close while the answer to one push is under way.
  std::map<std::uint64_t, Past> past_;
};

}  // namespace leeway
