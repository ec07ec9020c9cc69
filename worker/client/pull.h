// Pull: one read of the whole model vector, from all shards at once, in pieces of which a bounded number is in flight.
// As float32, as bf16, or as differences to what the worker has seen last (then chunk by chunk).
//
// Thread safety: any thread. `done` runs on the caller's executor, once, with no lock held.
// Ownership: shared, because calls under way keep it. The vector must stay until `done` has run or Abandon() has
// returned: after either, nothing writes to it any more. (`done` may still run after Abandon() if the pull had ended.)
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/placement.h"
#include "proto/parameter_server.pb.h"
#include "proto/policy.pb.h"
#include "worker/client/caller.h"
#include "worker/client/chunk_id.h"
#include "worker/client/cluster_view.h"
#include "worker/client/seen_weights.h"

namespace leeway {

// What a push has to say about the weights its gradient was computed on, per shard.
struct ShardRead {
  std::uint64_t version = 0;  // the lowest that this shard's chunks answered
  std::uint64_t generation = 0;
};

// A shard that has been called and has not given what it was asked for, and what it has said instead.
struct MissingAnswer {
  std::uint32_t shard = 0;
  std::vector<v1::Waiting> waits_for = {};  // a pull: for whom its gate holds it
  std::string reason = "";                  // why it cannot answer yet; "": it has said nothing
  Instant heard = {};                       // when it has said something last, that or another part of what was asked
};

struct PullResult {
  absl::Status status;
  std::vector<ShardRead> reads;
  std::uint64_t ticket_watermark = 0;  // the minimum over all answers
  std::uint64_t min_version = 0;
  std::uint64_t max_version = 0;
  bool gated = false;
  Instant gate_open;                         // gated: when the last held chunk was let through
  std::vector<std::uint32_t> waited_for;     // worker ids, ascending
  absl::Duration transfer;                   // from the first request to the last answer, less the time at the gate
  Instant ended;                             // when the last answer came
  v1::Policy policy;                         // that the step is under
  v1::Verdict last_push = v1::VERDICT_NONE;  // what an answer said of the push of the step before
  std::uint32_t gate_shard = 0;              // gated: whose gate opened last
  std::uint32_t last_shard = 0;              // that gave the last answer
};

class Pull : public std::enable_shared_from_this<Pull> {
 public:
  // Floats of a piece: 1 MiB is copied to its place while it is still in the cache that it was received into.
  static constexpr std::uint64_t kPieceElements = 256 * 1024;
  // Pieces in flight: enough to hide a round trip behind their transfer and to keep every shard busy, few enough to
  // bound the memory. Over a thin link fewer (LinkLoad).
  static std::size_t Window(std::uint32_t num_shards) { return std::clamp<std::size_t>(4 * num_shards, 8, 64); }

  struct Request {
    std::uint64_t clock = 0;
    std::uint64_t own_clock = 0;
    std::uint64_t answered = 0;  // own first pushes that every shard has answered
    std::uint64_t attempt = 0;   // above that of every earlier pull of this incarnation; 0: it does not count them
    bool copy = false;
    std::uint64_t min_version = 0;
    v1::Encoding encoding = v1::F32;    // F32, BF16; INT8: differences
    std::shared_ptr<SeenWeights> seen;  // INT8: what the differences are to
    std::uint16_t* halves = nullptr;    // BF16: the vector that gets them as they come, instead of the one of floats
  };

  Pull(Caller& caller, std::shared_ptr<ClusterView> view, const Placement& placement, const Request& request,
       float* vector, std::function<void(PullResult)> done);

  void Start();

  // Stops asking. When it returns, nothing writes to the vector any more; `done` runs only if the pull had ended.
  void Abandon();

  // While it goes on: of each shard from which a piece is missing.
  std::vector<MissingAnswer> MissingAnswers() const;

 private:
  struct Piece {
    ChunkId chunk;
    ChunkRun run;  // of the chunk's blocks
  };

  std::deque<Piece> PiecesOf(std::uint32_t shard) const;
  void Send(const Piece& piece);
  void SendAgain(const Piece& piece);  // unless the pull has ended
  bool Wanted();                       // it has not
  void Answered(const Piece& piece, Instant sent, std::uint64_t base, absl::Status status,
                Decoded<v1::PullReply> reply);
  absl::StatusOr<bool> Take(const Piece& piece, std::uint64_t base, const Decoded<v1::PullReply>& reply);
  void NoteGate(std::uint32_t shard, Instant sent, const v1::PullReply& reply) LEEWAY_REQUIRES(mu_);
  void Next(absl::Status status);
  void Finish() LEEWAY_EXCLUDES(mu_);

  Caller& caller_;
  const std::shared_ptr<ClusterView> view_;
  const Placement placement_;
  const Request request_;
  const v1::Policy policy_;  // that all its requests name
  float* const vector_;
  std::function<void(PullResult)> done_;

  mutable Mutex mu_;
  CondVar copied_;
  std::vector<Piece> to_send_ LEEWAY_GUARDED_BY(mu_);  // the last goes first
  std::size_t unanswered_ LEEWAY_GUARDED_BY(mu_) = 0;  // pieces without weights yet
  std::size_t copying_ LEEWAY_GUARDED_BY(mu_) = 0;
  bool ended_ LEEWAY_GUARDED_BY(mu_) = false;  // abandoned, failed or complete
  struct Asked {
    std::size_t pieces = 0;     // on their way
    MissingAnswer newest = {};  // what the shard has said last
  };
  std::vector<Asked> asked_ LEEWAY_GUARDED_BY(mu_);  // by shard
  std::set<std::uint32_t> waited_for_ LEEWAY_GUARDED_BY(mu_);
  PullResult result_ LEEWAY_GUARDED_BY(mu_);
  Instant started_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
