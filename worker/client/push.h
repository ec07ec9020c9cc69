// Push: one step's gradient on its way to all shards, chunk by chunk, each until it has its final verdict.
//
// A push may start before its gradient is complete: Ready() hands over a chunk whose values are final. While
// holds are left (a ticket that is not there yet, a paced step that is not over) nothing leaves. MakeNull()
// turns it into a null push, which moves the worker's clock and nothing else.
//
// Encoded pushes: a chunk is encoded on the caller's executor as soon as it is ready, also while holds are left; or it
// is encoded when it becomes ready (Encoded: on a GPU). Its bytes are kept, and sent again unchanged, until it has its
// verdict. What was not applied returns to the error feedback: refused and dropped chunks; every held chunk of a push
// that is not whole (its round does not count it), is given up, or is left out of its round (LeftOut); chunks that
// never left; those that an expired incarnation sent, unless the server says that it has them. The gradient of a
// null push is kept whole. Only a server that is lost for good, or for longer than kLastAnswers, leaves a chunk's fate
// unknown, and on a thin link that of the chunks which wait for room behind it: they count as applied. The server
// refuses a chunk that cannot be encoded (a value is not finite), and counts it: it goes as float32, or, where the host
// never had the values, encoded as NaN.
//
// Thread safety: any thread; Ready of one chunk in the order of the steps. `done` runs on the caller's executor, once,
// with no lock held, no call under way and the error feedback settled.
// Ownership: shared, because calls under way keep it; `owner` keeps the gradient. The gradient's ready elements, or
// bytes, must not change until `done`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/placement.h"
#include "common/strands.h"
#include "proto/coordinator.pb.h"
#include "worker/client/caller.h"
#include "worker/client/chunk_id.h"
#include "worker/client/cluster_view.h"
#include "worker/client/error_feedback.h"
#include "worker/client/pull.h"

namespace leeway {

struct PushResult {
  absl::Status status;                      // not OK: it has no verdict, and will get none
  v1::Verdict verdict = v1::VERDICT_NONE;   // APPLIED (or held for its round), REFUSED, DROPPED
  bool partial = false;                     // APPLIED, but some chunks were refused
  bool held = false;                        // APPLIED means that it is held for its round
  std::uint64_t open_round = 0;             // DROPPED: where to go on
  std::string refusal;                      // why chunks were refused, the first reason
  absl::Duration transfer;                  // from the first chunk sent to the last verdict
  Instant ended;                            // when the last verdict came
  std::optional<std::uint32_t> last_shard;  // that gave it
  absl::Duration journal;                   // how long that one waited for the shard's journal
  std::vector<v1::Journaled> journaled;     // what CommitDataRequest says of the answers
};

class Push : public std::enable_shared_from_this<Push> {
 public:
  // Chunks in flight: enough to hide a round trip behind their transfer and to keep every shard busy, few enough to
  // bound the memory. Over a thin link fewer (LinkLoad).
  static std::size_t Window(std::uint32_t num_shards) { return std::clamp<std::size_t>(2 * num_shards, 8, 64); }

  // A gradient that comes encoded, in place of floats and an Encoder.
  struct Encoded {
    v1::Encoding encoding = v1::F32;
    std::function<Buffer(ChunkId)> bytes;  // of a chunk that is ready, by reference
    // What was not applied, as ErrorFeedback::Return; on the caller's executor. Empty: nothing is kept.
    std::function<void(ChunkId, const Buffer&)> give_back;
  };

  struct Request {
    std::uint64_t clock = 0;
    std::uint32_t samples = 0;
    std::vector<ShardRead> reads;                   // per shard
    std::optional<Encoded> encoded = std::nullopt;  // else the gradient is floats
  };

  // What a worker encodes its gradients with; all its pushes share it, whatever their incarnation.
  struct Encoder {
    Encoder(const Placement& placement, const PushEncoding& encoding, Executor& executor)
        : feedback(placement, encoding), strands(executor, feedback.chunks().size()) {}
    ErrorFeedback feedback;
    Strands strands;  // by chunk number: the pushes of one chunk are encoded in order
  };

  // `holds`: how many Release() must come before the first chunk leaves. `gradient` may be null for null pushes.
  // `encoder`: null sends the gradient from where it lies, as float32 or as it comes encoded.
  Push(Caller& caller, std::shared_ptr<ClusterView> view, const Placement& placement, Request request, int holds,
       std::shared_ptr<const void> owner, const float* gradient, std::shared_ptr<Encoder> encoder,
       std::function<void(PushResult)> done);

  void Ready(ChunkId chunk);
  // Chunks that are not ready yet will not be: there is no gradient, or it is not wanted (it is not finite).
  void NoMoreChunks();
  void SetTicket(const v1::Ticket& ticket);  // before the Release() that lets chunks go
  void Release();
  // Sends no gradient but a null push with `verdict` (REFUSED, or APPLIED: nothing to apply). Before the last
  // Release().
  // `refusal`: why it is refused, for the result.
  void MakeNull(v1::Verdict verdict, std::string refusal = "");
  // Rounds: its round has closed without it, `open_round` is open. What has not left stays, and `done` gets DROPPED
  // once the calls under way have ended and NoMoreChunks() was called. False: it goes on as it was, since all of it has
  // left and the round may have it, or there is nothing to save (a null push, one that has failed).
  bool GiveUp(std::uint64_t open_round);
  bool given_up() const;
  // Gives up: nothing more is sent; `done` gets CANCELLED when the calls under way have ended (and an encoder has had
  // every chunk, or NoMoreChunks() was called). As in a push that has failed, calls that reach nobody are tried again
  // for kLastAnswers, from the end of the attempt that was under way, which may be a deadline much later, and on as
  // long as other chunks are answered within that: what became of them is worth knowing, but a shard that has moved
  // meanwhile would not be found.
  void Abandon();
  // While it goes on: of each shard that has a chunk and has not given its verdict.
  std::vector<MissingAnswer> MissingAnswers() const;
  // Nothing has left, since the ticket (or another hold) is not there yet.
  bool held_back() const;
  // After a `done` with `held`, when no pull will tell: asks for some seconds what the round has made of the push.
  // APPLIED, DROPPED, or VERDICT_NONE where the round is still open then, nobody answers, or nothing is kept that could
  // return. On the executor.
  void AskOfRound(std::function<void(v1::Verdict)> told) { AskOfRound(std::move(told), std::nullopt); }
  // After a `done` with `held`: the round has closed without the push. What it sent returns to the error feedback. The
  // bytes of a gradient that came encoded must still be there.
  void LeftOut();

 private:
  static constexpr absl::Duration kAskAgain = absl::Milliseconds(50);  // after an answer that is no verdict yet
  // For how long a push that is given up asks what became of it, where nobody answers or a round is open.
  static constexpr absl::Duration kLastAnswers = absl::Seconds(5);

  bool IsEncoded() const { return encoder_ != nullptr || request_.encoded.has_value(); }
  void Encode(ChunkId id);
  void Took(ChunkId id, std::optional<Buffer> bytes);
  void GiveBack(ChunkId id, const Buffer& bytes);
  void SendSome();
  void HasRoom();
  v1::PushRequest RequestFor(ChunkId id, Buffer* payload);
  void Send(ChunkId id);  // has room
  void SendAgain(ChunkId id);
  void AskOfRound(std::function<void(v1::Verdict)> told, std::optional<Instant> end);
  void Answered(ChunkId id, absl::Status status, const v1::PushReply& reply);
  // Is the answer to a chunk worth another attempt? `end`: until when, of this call, once the push has failed.
  bool Wanted(std::optional<Instant>* end);
  void Count(ChunkId id, const absl::Status& status, const v1::PushReply& reply) LEEWAY_REQUIRES(mu_);
  void LogVerdict(ChunkId id, const v1::PushReply& reply) LEEWAY_REQUIRES(mu_);
  bool IsOver() const LEEWAY_REQUIRES(mu_);
  void EndIfOver();
  PushResult Result() LEEWAY_REQUIRES(mu_);

  Caller& caller_;
  const std::shared_ptr<ClusterView> view_;
  const Placement placement_;
  const Request request_;
  const std::shared_ptr<const void> owner_;
  const float* const gradient_;
  const std::shared_ptr<Encoder> encoder_;
  const std::function<void(PushResult)> done_;

  mutable Mutex mu_;
  int holds_ LEEWAY_GUARDED_BY(mu_);
  v1::Verdict null_verdict_ LEEWAY_GUARDED_BY(mu_) = v1::VERDICT_NONE;
  v1::Ticket ticket_ LEEWAY_GUARDED_BY(mu_);
  std::deque<ChunkId> ready_ LEEWAY_GUARDED_BY(mu_);
  bool waits_for_room_ LEEWAY_GUARDED_BY(mu_) = false;
  std::size_t in_flight_ LEEWAY_GUARDED_BY(mu_) = 0;
  struct Sent {
    std::size_t chunks = 0;     // of in_flight_
    MissingAnswer newest = {};  // what the shard has said last
  };
  std::vector<Sent> sent_ LEEWAY_GUARDED_BY(mu_);     // by shard
  std::size_t to_answer_ LEEWAY_GUARDED_BY(mu_) = 0;  // chunks without a verdict
  std::size_t not_taken_ LEEWAY_GUARDED_BY(mu_) = 0;  // chunks that their shard has neither applied nor held
  std::size_t to_encode_ LEEWAY_GUARDED_BY(mu_) = 0;  // chunks that are not encoded yet
  std::size_t encoding_ LEEWAY_GUARDED_BY(mu_) = 0;   // of them, those that are ready
  bool no_more_chunks_ LEEWAY_GUARDED_BY(mu_) = false;
  std::map<ChunkId, Buffer> encoded_ LEEWAY_GUARDED_BY(mu_);  // chunks that are not known to be applied
  bool given_up_ LEEWAY_GUARDED_BY(mu_) = false;
  bool ended_ LEEWAY_GUARDED_BY(mu_) = false;
  absl::Status failure_ LEEWAY_GUARDED_BY(mu_);
  bool abandoned_ LEEWAY_GUARDED_BY(mu_) = false;
  std::uint64_t applied_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t refused_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t dropped_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::optional<ChunkId> held_ LEEWAY_GUARDED_BY(mu_);  // one that was HELD
  bool asked_ LEEWAY_GUARDED_BY(mu_) = false;           // of the round
  bool in_weights_ LEEWAY_GUARDED_BY(mu_) = false;      // a chunk was APPLIED
  bool left_out_ LEEWAY_GUARDED_BY(mu_) = false;        // of its round, as a shard has said when asked
  std::uint64_t open_round_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::string refusal_ LEEWAY_GUARDED_BY(mu_);
  std::optional<std::uint32_t> last_shard_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t last_journal_micros_ LEEWAY_GUARDED_BY(mu_) = 0;
  // By shard and generation.
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> journaled_ LEEWAY_GUARDED_BY(mu_);
  bool started_ LEEWAY_GUARDED_BY(mu_) = false;
  Instant start_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
