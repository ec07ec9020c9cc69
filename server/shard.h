// Shard: one `ps` process's part of the cluster: the ParameterServer service behind the Transport seam.
// It ties the plain objects (gate, clocks, push windows, round book) to the block store, and holds requests
// that must wait.
//
// Thread safety: every public method, from any thread; none blocks. Replies are sent without the lock held.
// Ownership: `clock` and `executor` outlive it. Destroy it after Shutdown and after the executor has run out.
// Invariants: a request that is held takes neither a thread nor payload memory of a pull; it is answered at
// its time limit at the latest. Chunks are applied on the executor, control state is under one mutex, and
// no RPC is made from here.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/executor.h"
#include "common/mutex.h"
#include "common/rpc.h"
#include "proto/coordinator.pb.h"
#include "proto/parameter_server.pb.h"
#include "proto/shard_state.pb.h"
#include "server/block_store.h"
#include "server/byte_budget.h"
#include "server/clock_table.h"
#include "server/delta_book.h"
#include "server/departed_windows.h"
#include "server/given_book.h"
#include "server/histogram.h"
#include "server/journal.h"
#include "server/nonfinite_runs.h"
#include "server/policy_book.h"
#include "server/push_window.h"
#include "server/round_book.h"
#include "server/staleness_gate.h"
#include "server/store_cut.h"
#include "server/ticket_watermark.h"

namespace leeway {

class Shard {
 public:
  struct Options {
    std::uint32_t index = 0;
    std::uint32_t num_shards = 1;
    std::uint64_t generation = 1;  // random, of this process
    // Gradients received and not yet applied (or, in rounds, not yet summed), copies of weights that are not sent yet,
    // and the copies that pulls of differences and delay_policy=dc need. Each worker has an equal share
    // (server/byte_budget.h), above which it is told to come back: a shard's memory stays bounded however many workers
    // push. The copies that are kept take half of it at most, so that pushes find room whoever pulls.
    std::uint64_t max_held_bytes = std::uint64_t{4} << 30;
    // A journal that has grown by more than this since the last checkpoint asks for one; 0: it does not.
    std::uint64_t journal_max_bytes = 0;
    std::uint32_t protocol_version = kProtocolVersion;  // that it speaks
  };
  // The longest a request is held, whatever it asks for: below every client's deadline.
  static constexpr absl::Duration kMaxHold = absl::Seconds(10);

  Shard(const Options& options, Clock* clock, Executor* executor);
  ~Shard();

  // The ParameterServer service: `request` as it came; errors as docs/protocol.md says.
  void Pull(const Buffer& request, ReplyCallback done);
  void Push(const Buffer& request, ReplyCallback done);
  void PushPull(const Buffer& request, ReplyCallback done);
  void PutWeights(const Buffer& request, ReplyCallback done);
  void WatchRound(const Buffer& request, ReplyCallback done);

  // Carries out a membership snapshot. Errors: FAILED_PRECONDITION (another run, model or placement than
  // before), RESOURCE_EXHAUSTED (no memory for the weights); the shard is then of no use.
  absl::Status ApplySnapshot(const v1::WatchReply& snapshot);
  // What the next WatchMembership call says of this shard.
  v1::WatchRequest Describe();
  // Whole pushes of the open round, for ReportRound; empty outside rounds.
  v1::ReportRoundRequest DescribeRound();
  // Called (without the lock) when DescribeRound has something new. Set before the first request.
  void set_on_round(std::function<void()> on_round) { on_round_ = std::move(on_round); }

  // Carries out what an earlier process of this shard has journaled. DATA_LOSS: a record that is none of this shard's.
  absl::Status Replay(const v1::JournalRecord& record, const Buffer& payload);
  // What this shard is, beside its weights, when no chunk is being applied.
  v1::ShardState SaveState();
  // Becomes what `state` says, with the model of `manifest`; the store's weights, slots and steps are the caller's to
  // fill (store()). Before the first request. DATA_LOSS: what no shard saves; else as ApplySnapshot.
  absl::Status RestoreState(const v1::ShardState& state, const v1::Manifest& manifest);

  // Where checkpoints go; without it a cut is answered with an error. Set before the first request.
  void set_cut_sink(CutSink* sink) { cut_sink_ = sink; }
  // The checkpoint of cut `report.id()` is written, or has an error.
  void CutWritten(const v1::CutReport& report);

  // From here on every input is journaled, and answered when it is written. Call it after the last Replay and before
  // the first request. `journal` outlives the shard; `replayed`: so many bytes of it are behind the last checkpoint.
  void UseJournal(Journal* journal, std::uint64_t replayed = 0);
  // Calls `done`, perhaps in line, when what this shard has carried out until now is as safe as its journal makes it,
  // or with the reason why it will not be.
  void WhenWritten(Journal::Done done);

  // From here on steps of which nothing has come here are answered UNAVAILABLE; what is under way is carried out.
  void Drain();
  // Nothing is under way.
  bool Quiet();
  // The id of the newest cut that was made here; 0: none.
  std::uint64_t last_cut();

  // Answers everything that is held with UNAVAILABLE, and every later request too.
  void Shutdown(const std::string& reason);

  v1::RunState state();
  std::string failure();  // why the run has failed; "": it has not
  // The store once the model is known, else null (tests, export).
  std::shared_ptr<BlockStore> store();

 private:
  // Things to do when the lock is released, in order: replies, mostly.
  using Actions = std::vector<std::function<void()>>;

  struct MemberInfo {
    v1::Member proto;
    PushWindow window;
    bool entered = false;  // it has been live here: it comes back from parking, perhaps with pushes under way
    // From what an earlier process of this shard has left, and it has not shown yet that nothing of it is missing.
    bool recovered = false;
    // One above the newest step that a pull of it was admitted for, here and by this process; below that, an earlier
    // process of this shard may have admitted one.
    std::uint64_t pulled = 0;
    std::uint64_t may_have_pulled = 0;
    // The gate's clock is its own and this, so that who was behind under a looser bound is not waited for.
    std::uint64_t offset = 0;
    std::uint64_t previous_offset = 0;  // under the policy before
    std::uint64_t gate_clock() const { return window.clock() + offset; }
  };

  // A request that waits.
  struct Held {
    enum Kind { kPull, kPush, kPutWeights, kWatchRound } kind = kPull;
    v1::PullRequest pull;
    v1::WatchRoundRequest watch;
    std::shared_ptr<Decoded<v1::PushRequest>> push;
    std::shared_ptr<Decoded<v1::PutWeightsRequest>> weights;
    ReplyCallback done;
    // PushPull: the push's reply, waiting for the pull's.
    std::shared_ptr<v1::PushReply> push_reply;
    Instant since;
    std::uint64_t timer = 0;
    std::set<WorkerId> waited_for;
    bool charged = false;  // its payload counts
    bool expired = false;
  };

  // shard.cc: members and waiting.
  // What a snapshot says of the run as a whole.
  void Adopt(const v1::WatchReply& snapshot) LEEWAY_REQUIRES(mu_);
  void InstallMember(const v1::Member& member) LEEWAY_REQUIRES(mu_);
  void RemoveMember(WorkerId worker) LEEWAY_REQUIRES(mu_);
  enum class StampCheck { kOk, kAhead };
  absl::StatusOr<StampCheck> CheckStamp(const v1::Stamp& stamp) const LEEWAY_REQUIRES(mu_);
  absl::Status CheckRun(const v1::BlockRun& run) const LEEWAY_REQUIRES(mu_);
  bool IsMember(const v1::Stamp& stamp) const LEEWAY_REQUIRES(mu_);
  // `bytes` of this worker count from here on. RESOURCE_EXHAUSTED, with the delay after which to come again: it has no
  // room for them. `anyway`: everybody may have to wait for them.
  absl::StatusOr<ByteBudget::Charge> Charge(WorkerId worker, std::uint64_t bytes, bool anyway) LEEWAY_REQUIRES(mu_);
  // The same for a payload, once; it counts until its last copy is gone.
  absl::Status ChargePayload(Held& held, const v1::Stamp& stamp, Buffer& payload, bool anyway) LEEWAY_REQUIRES(mu_);
  void Hold(std::unique_ptr<Held> held, absl::Duration limit, Actions* actions) LEEWAY_REQUIRES(mu_);
  bool Attempt(Held& held, Actions* actions) LEEWAY_REQUIRES(mu_);
  void Pump(Actions* actions) LEEWAY_REQUIRES(mu_);
  void OnTimer(std::uint64_t id);
  static void Run(Actions& actions);
  static void Reply(const ReplyCallback& done, const google::protobuf::Message& message);
  // On the executor; at once while the journal is replayed.
  void Post(std::function<void()> work);
  v1::Aggregation aggregation() const LEEWAY_REQUIRES(mu_) { return book_.now().aggregation(); }

  // A member knows of more than this shard does: what its earlier process had acknowledged is gone.
  void NoteLost(const MemberInfo& member, std::uint64_t answered) LEEWAY_REQUIRES(mu_);

  // shard_pull.cc
  bool AttemptPull(Held& held, Actions* actions) LEEWAY_REQUIRES(mu_);
  void ReplyToPull(Held& held, Actions* actions) LEEWAY_REQUIRES(mu_);
  // How far the shard is: what weights that are read from now on contain.
  void SetProgress(v1::PullReply* reply) const LEEWAY_REQUIRES(mu_);
  void PullNotYet(Held& held, const std::vector<WorkerId>& on, const std::string& reason, Actions* actions)
      LEEWAY_REQUIRES(mu_);
  // What the executor reads weights for.
  struct CopyJob {
    std::shared_ptr<Held> held;
    v1::PullReply reply;
    std::shared_ptr<BlockStore> store;
    std::shared_ptr<WorkerCopy> copy;     // INT8, when there is room for one
    std::shared_ptr<GivenWeights> given;  // what the answer is kept in, or was made from before
    ByteBudget::Charge charge;
  };
  absl::Status CheckPullEncoding(const v1::PullRequest& pull) const LEEWAY_REQUIRES(mu_);
  void SendCopy(CopyJob job) LEEWAY_EXCLUDES(mu_);
  // The payload of the answer. `values`, if any: what the worker has then, in F32 or BF16.
  static Buffer ReadWeights(CopyJob* job, Buffer* values);
  GateAnswer AskGateFor(const v1::PullRequest& pull, const v1::Policy& policy) const LEEWAY_REQUIRES(mu_);
  std::uint64_t OwnClock(WorkerId worker) const LEEWAY_REQUIRES(mu_);  // as the worker counts
  std::uint64_t LastMinimum() const LEEWAY_REQUIRES(mu_);              // of the clocks, as a checkpoint has it
  static void FinishPull(const Held& held, v1::PullReply reply, Buffer payload);

  // shard_push.cc
  struct ChunkJob {
    std::shared_ptr<Decoded<v1::PushRequest>> push;
    ReplyCallback done;
    std::shared_ptr<BlockStore> store;
    double rate = 0;
    std::shared_ptr<StoreCut> cut;  // while a checkpoint is written
    Instant recorded = {};          // when its record was handed to the journal; 0: it has none
    // With delay_policy=dc: the weights that the gradient was computed on, if they are known.
    std::vector<std::shared_ptr<GivenWeights>> given = {};
    double lambda = 0;
  };
  void StartPush(std::shared_ptr<Decoded<v1::PushRequest>> push, ReplyCallback done);
  bool AttemptPush(Held& held, Actions* actions) LEEWAY_REQUIRES(mu_);
  absl::Status CheckTicket(const v1::PushRequest& header) const LEEWAY_REQUIRES(mu_);
  absl::Status CheckPush(const Decoded<v1::PushRequest>& push) const LEEWAY_REQUIRES(mu_);
  void AcceptPush(Held& held, MemberInfo& member, Actions* actions) LEEWAY_REQUIRES(mu_);
  void AcceptNullPush(Held& held, MemberInfo& member, Actions* actions) LEEWAY_REQUIRES(mu_);
  absl::Status CheckChunk(const v1::PushRequest& header) const LEEWAY_REQUIRES(mu_);
  void RunChunk(const ChunkJob& job) LEEWAY_EXCLUDES(mu_);
  std::vector<ReplyCallback> TakeDuplicates(const v1::PushRequest& header) LEEWAY_REQUIRES(mu_);
  void FinishChunk(const ChunkJob& job, v1::Verdict verdict, const absl::Status& status) LEEWAY_EXCLUDES(mu_);
  bool CountWhole(WorkerId worker, MemberInfo& member) LEEWAY_REQUIRES(mu_);
  void AdvanceClock(WorkerId worker, MemberInfo& member, Actions* actions) LEEWAY_REQUIRES(mu_);
  double RateFor(const v1::PushRequest& push) const LEEWAY_REQUIRES(mu_);
  v1::PushReply PushReplyFor(const v1::PushRequest& push, v1::Verdict verdict, bool duplicate) const
      LEEWAY_REQUIRES(mu_);

  // shard_correct.cc: delay_policy=dc (docs/adr/0021-delay-compensation.md).
  // Where the answer to this pull is to be kept; null: nowhere.
  std::shared_ptr<GivenWeights> KeepGiven(const v1::PullRequest& pull) LEEWAY_REQUIRES(mu_);
  // The payload of an answer that is kept, or that was given before.
  static Buffer Give(CopyJob* job);
  void FindGiven(ChunkJob* job) LEEWAY_REQUIRES(mu_);
  std::uint64_t CorrectedBytes(const v1::PushRequest& header) const LEEWAY_REQUIRES(mu_);
  // Takes the chunk's step, and hands its record to the journal in the same order; returns the record.
  std::uint64_t ApplyChunk(const ChunkJob& job) LEEWAY_EXCLUDES(mu_);
  void ApplyCorrected(const ChunkJob& job) LEEWAY_EXCLUDES(mu_);
  // The copies that are kept for workers.
  std::uint64_t KeptBytes() const LEEWAY_REQUIRES(mu_) { return deltas_.bytes() + given_.bytes(); }

  // shard_departed.cc
  // The window of this incarnation, member or not; null: neither.
  const PushWindow* WindowOf(const v1::Stamp& stamp) const LEEWAY_REQUIRES(mu_);
  // Answers a push of an incarnation that is no member any more if its chunk had come before; else false.
  bool AnswerDeparted(Held& held, Actions* actions) LEEWAY_REQUIRES(mu_);

  // shard_journal.cc: the journal's records; 0 without a journal.
  std::uint64_t JournalSnapshot(const v1::WatchReply& snapshot, bool new_model);
  std::uint64_t JournalChunk(const ChunkJob& job, v1::Verdict verdict);
  std::uint64_t JournalNullPush(const v1::PushRequest& header);
  std::uint64_t JournalWeights(const v1::PutWeightsRequest& header, const Buffer& payload);
  // `work` goes on, on the executor, when `record` is written; at once without a journal. Else `done` gets the reason.
  void AfterRecord(std::uint64_t record, const ReplyCallback& done, std::function<void()> work);
  absl::Status ReplayChunk(const v1::JournaledChunk& chunk, const Buffer& payload);
  absl::Status ReplayNullPush(const v1::PushRequest& header);
  absl::Status ReplayWeights(const v1::PutWeightsRequest& header, const Buffer& payload);

  // shard_cut.cc: checkpoints (docs/adr/0013-cut-of-a-checkpoint.md).
  void FollowCut(const v1::Cut& cut) LEEWAY_REQUIRES(mu_);
  // Must this push wait for the cut?
  bool WaitsForCut(const v1::PushRequest& header) const LEEWAY_REQUIRES(mu_);
  // Makes the cut if everything is in that belongs to it.
  void TryCut() LEEWAY_REQUIRES(mu_);
  v1::ShardState SaveStateLocked() const LEEWAY_REQUIRES(mu_);

  // shard_policy.cc: changes of the policy (docs/adr/0016-policy-changes.md).
  void FollowPolicy(const v1::WatchReply& snapshot) LEEWAY_REQUIRES(mu_);
  // One above the newest step of this member that this shard knows of.
  static std::uint64_t FarthestOf(const MemberInfo& member);
  std::string PolicyBusy() const LEEWAY_REQUIRES(mu_);  // why no change may begin, or nothing
  // What the gate compares steps with that are under the policy before the newest.
  ClockTable ClocksBefore() const LEEWAY_REQUIRES(mu_);
  const v1::Policy& PolicyOf(const v1::PushRequest& push) const LEEWAY_REQUIRES(mu_) {
    return book_.OfAdmitted(push.stamp().worker_id(), push.stamp().incarnation(), push.clock());
  }

  // shard_weights.cc
  // `fill`: with the seed's weights, if a worker does not bring them.
  absl::Status InstallModel(const v1::WatchReply& snapshot, bool fill) LEEWAY_EXCLUDES(mu_);
  void InstallWeights(const v1::BlockRun& run, const Buffer& payload, Actions* actions) LEEWAY_REQUIRES(mu_);
  bool AttemptPutWeights(Held& held, Actions* actions) LEEWAY_REQUIRES(mu_);

  // shard_round.cc
  void StartClose(Actions* actions) LEEWAY_REQUIRES(mu_);
  void RunClose(std::uint32_t chunk) LEEWAY_EXCLUDES(mu_);
  void FinishClose(Actions* actions) LEEWAY_REQUIRES(mu_);
  // This push is in no round. It is counted once, however many of its chunks come late, and how often.
  void CountLeftOut(std::uint32_t rank, std::uint64_t step, bool refused = false) LEEWAY_REQUIRES(mu_);
  std::vector<WorkerId> MissingInRound() const LEEWAY_REQUIRES(mu_);
  bool AttemptWatchRound(Held& held, Actions* actions) LEEWAY_REQUIRES(mu_);

  const Options options_;
  Clock* const clock_;
  Executor* const executor_;
  std::function<void()> on_round_;
  CutSink* cut_sink_ = nullptr;
  Journal* journal_ = nullptr;  // null: none (yet)
  bool replaying_ = false;      // by one thread, before there are others

  Mutex mu_;
  std::string shutdown_ LEEWAY_GUARDED_BY(mu_);  // not empty: the reason
  // The snapshot carried out last.
  std::uint64_t run_id_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t sequence_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t membership_epoch_ LEEWAY_GUARDED_BY(mu_) = 0;
  PolicyBook book_ LEEWAY_GUARDED_BY(mu_);
  v1::RunState state_ LEEWAY_GUARDED_BY(mu_) = v1::STARTING;
  std::string failure_ LEEWAY_GUARDED_BY(mu_);
  double mean_samples_ LEEWAY_GUARDED_BY(mu_) = 0;
  // The model, once a worker has brought it.
  std::uint64_t fingerprint_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::string model_ LEEWAY_GUARDED_BY(mu_);
  std::optional<Placement> placement_ LEEWAY_GUARDED_BY(mu_);
  std::shared_ptr<BlockStore> store_ LEEWAY_GUARDED_BY(mu_);
  std::set<std::uint64_t> missing_blocks_ LEEWAY_GUARDED_BY(mu_);  // that PutWeights has not brought
  bool weights_ready_ LEEWAY_GUARDED_BY(mu_) = false;
  // What the journal has brought back may lack its end, which the coordinator's first word tells. Until then no new
  // push is taken: its record would have the number of one that is lost, and the next process would seem to have that.
  bool unconfirmed_ LEEWAY_GUARDED_BY(mu_) = false;
  std::string lost_ LEEWAY_GUARDED_BY(mu_);  // not empty: the run must go back to a checkpoint, and why
  std::string lost_said_by_ LEEWAY_GUARDED_BY(mu_);
  // Members and their pushes.
  std::map<WorkerId, MemberInfo> members_ LEEWAY_GUARDED_BY(mu_);
  DepartedWindows departed_ LEEWAY_GUARDED_BY(mu_);
  ClockTable clocks_ LEEWAY_GUARDED_BY(mu_);
  TicketWatermark tickets_ LEEWAY_GUARDED_BY(mu_);
  std::map<std::pair<WorkerId, std::uint64_t>, v1::PushRequest> open_pushes_ LEEWAY_GUARDED_BY(mu_);  // headers
  // Repetitions of a chunk that is being applied: by incarnation, clock, chunk.
  std::map<std::tuple<std::uint64_t, std::uint64_t, std::uint32_t>, std::vector<ReplyCallback>> duplicates_
      LEEWAY_GUARDED_BY(mu_);
  std::uint64_t version_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t samples_ LEEWAY_GUARDED_BY(mu_) = 0;
  // Rounds.
  RoundBook rounds_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t open_round_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::map<std::uint32_t, std::uint64_t> left_out_ LEEWAY_GUARDED_BY(mu_);  // by rank: one above the newest counted
  struct Closing {
    v1::RoundClose close;
    RoundBook::Contributions contributions;
    double rate = 0;
    std::uint32_t chunks_left = 0;
    std::shared_ptr<StoreCut> cut;
  };
  std::optional<Closing> closing_ LEEWAY_GUARDED_BY(mu_);
  std::deque<v1::RoundClose> closes_ LEEWAY_GUARDED_BY(mu_);
  std::uint32_t copies_under_way_ LEEWAY_GUARDED_BY(mu_) = 0;
  // The checkpoint that is being taken.
  v1::Cut cut_ LEEWAY_GUARDED_BY(mu_);
  enum class CutPhase {
    kNone,
    kHolding,  // pushes of new steps wait; for the limits, then for what is below them
    kWriting,
    kReported,
  } cut_phase_ LEEWAY_GUARDED_BY(mu_) = CutPhase::kNone;
  std::map<WorkerId, v1::MemberClock> cut_limits_ LEEWAY_GUARDED_BY(mu_);  // while kHolding
  std::shared_ptr<StoreCut> store_cut_ LEEWAY_GUARDED_BY(mu_);             // while kWriting
  v1::CutReport cut_report_ LEEWAY_GUARDED_BY(mu_);
  std::string committed_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t chunks_under_way_ LEEWAY_GUARDED_BY(mu_) = 0;  // accepted, without a verdict
  bool draining_ LEEWAY_GUARDED_BY(mu_) = false;
  std::uint64_t last_cut_ LEEWAY_GUARDED_BY(mu_) = 0;
  // The journal's bytes (Journal::bytes) at the cut made last, whose checkpoint has this name, and at the cut of the
  // checkpoint committed last; before the latter's, those that an earlier process has left behind its.
  std::string cut_made_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t journal_at_cut_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t journal_at_checkpoint_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t journal_replayed_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t journal_found_ LEEWAY_GUARDED_BY(mu_) = 0;  // the last record that an earlier process has left
  // What workers have that pull differences.
  DeltaBook deltas_ LEEWAY_GUARDED_BY(mu_);
  GivenBook given_ LEEWAY_GUARDED_BY(mu_);  // what their gradients are computed on, with delay_policy=dc
  // Requests that wait, by id. What they carry is charged; how many they are is bounded by connection, by the servers.
  std::map<std::uint64_t, std::unique_ptr<Held>> held_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t next_held_ LEEWAY_GUARDED_BY(mu_) = 1;
  bool pumping_ LEEWAY_GUARDED_BY(mu_) = false;
  bool pump_again_ LEEWAY_GUARDED_BY(mu_) = false;
  ByteBudget budget_;  // of the payloads of pushes and of PutWeights, and of the copies that pulls are answered with
  // Statistics.
  v1::ShardStats stats_ LEEWAY_GUARDED_BY(mu_);
  LinearHistogram gap_ LEEWAY_GUARDED_BY(mu_);
  LinearHistogram delay_ LEEWAY_GUARDED_BY(mu_);
  NonFiniteRuns nonfinite_runs_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
