// Coordinator: the service of shard 0. It ties the plain objects (membership, rounds, tickets, data leases,
// stop rule, status board) together, holds requests that must wait, and publishes one numbered snapshot.
// docs/adr/0012-coordinator-state.md says how it survives its process.
//
// Thread safety: every public method, from any thread; none blocks. Replies are sent without the lock held.
// Ownership: `clock`, `executor` and `store` outlive it. Destroy it after Shutdown, after the executor has run out, and
// after the store has asked for the last time.
// Invariants: nothing that depends on a change is answered before the change is saved (Send sees to it); a snapshot's
// sequence grows with every change, also over a restart; the run's state only moves forward.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/executor.h"
#include "common/manifest.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/placement.h"
#include "common/rpc.h"
#include "proto/coordinator.pb.h"
#include "server/coordinator/checkpoint_committer.h"
#include "server/coordinator/checkpoint_course.h"
#include "server/coordinator/checkpoint_record.h"
#include "server/coordinator/coordinator_store.h"
#include "server/coordinator/data_leases.h"
#include "server/coordinator/divergence_rule.h"
#include "server/coordinator/held_request.h"
#include "server/coordinator/membership.h"
#include "server/coordinator/policy_course.h"
#include "server/coordinator/progress_at_cut.h"
#include "server/coordinator/quarantine.h"
#include "server/coordinator/rate_history.h"
#include "server/coordinator/reply.h"
#include "server/coordinator/round_closer.h"
#include "server/coordinator/run_sample.h"
#include "server/coordinator/shard_claims.h"
#include "server/coordinator/shard_info.h"
#include "server/coordinator/status_board.h"
#include "server/coordinator/stop_rule.h"
#include "server/coordinator/ticket_office.h"
#include "server/coordinator/wait_board.h"
#include "server/coordinator/waits_under_way.h"

namespace leeway {

class Coordinator {
 public:
  struct Options {
    v1::Policy policy;
    std::uint32_t num_shards = 1;
    std::uint64_t run_id = 1;  // random, not 0
    absl::Duration lease = absl::Seconds(10);
    // Of the shard 0 in this process: calls of its predecessor may still be on their way. 0: any.
    std::uint64_t own_generation = 0;
    std::uint32_t num_evaluators = 0;  // that the start waits for, beside the policy's num_workers
    // With no worker left for this long, the run ends instead of waiting for ever.
    absl::Duration abandon_timeout = absl::Minutes(1);
    // Checkpoints: where they are committed (null: none are taken), and when. It outlives the coordinator.
    CheckpointCommitter* committer = nullptr;
    std::uint64_t checkpoint_steps = 0;  // 0: not by steps
    absl::Duration checkpoint_interval = absl::InfiniteDuration();
    // Go back to a checkpoint when the loss is above so many times the first, or not finite; 0: never.
    double rollback_on_divergence = 0;
    // The run goes back, which is saved: this coordinator answers nobody any more, and one that Restores what is saved
    // is to take its place. Called once, on the executor or a thread of the store, without a lock.
    std::function<void(std::uint64_t era, const std::string& base)> on_go_back = [](auto, const auto&) {};
    std::uint32_t protocol_version = kProtocolVersion;  // that it speaks
    std::string checkpoint_dir = {};                    // the committer's, for who asks where a checkpoint is
    // The end waits for the last checkpoint, which is tried again for so long.
    absl::Duration last_checkpoint_timeout = absl::Minutes(1);
  };
  // When the loss has diverged so often, the run ends: going back does not help it.
  static constexpr std::uint32_t kMostDivergences = 3;
  // The longest that joins and data requests are held before they are told not_yet: far below their deadline.
  static constexpr absl::Duration kMaxHold = absl::Seconds(2);
  // Who asks for a checkpoint is nobody's member: so many may wait, for so long.
  static constexpr std::size_t kMostAskers = 64;
  static constexpr absl::Duration kMaxAskerHold = absl::Seconds(10);
  static constexpr int kMostCheckpointsTold = 20;

  Coordinator(const Options& options, Clock* clock, Executor* executor, CoordinatorStore* store);
  ~Coordinator();

  // Before Start: takes up the run that another coordinator has saved; its run id is the option's. Every lease begins
  // anew. FAILED_PRECONDITION: the run is over, or its policy or num_shards is not the option's (both are named);
  // DATA_LOSS: no coordinator can have saved this.
  absl::Status Restore(const v1::CoordinatorState& state, const v1::Manifest& manifest);

  // Before the first request. Begins to tick: leases expire, limits in time are checked, who is missing is logged.
  void Start();

  // One of the Coordinator service's methods by its bare name ("Join"). UNIMPLEMENTED for any other.
  void Handle(const std::string& method, const Buffer& request, ReplyCallback done);

  bool Over();  // the run is FINISHED, and every shard knows it
  v1::RunState state();
  RunSample Sample() LEEWAY_EXCLUDES(mu_);
  void AddMetrics(MetricsPage* page) LEEWAY_EXCLUDES(mu_);
  v1::GetStatusReply Status(const v1::GetStatusRequest& request = {}) LEEWAY_EXCLUDES(mu_);
  // FINISHED: UNAVAILABLE, with the reason, if there should be a last checkpoint and is none.
  absl::Status last_checkpoint();

  // Answers everything that is held with UNAVAILABLE, and every later request too.
  void Shutdown(const std::string& reason) LEEWAY_EXCLUDES(mu_);

 private:
  using Held = HeldRequest;

  // What is remembered of a member's data requests and commits, and of an evaluator's reports.
  struct DataState {
    std::uint64_t incarnation = 0;
    std::uint64_t last_request = 0;
    v1::AcquireDataReply last_reply = {};                 // to last_request
    bool reentering = false;                              // parked, and has data again
    std::optional<v1::DataRange> waiting = std::nullopt;  // that data
    std::set<std::uint64_t> committed = {};               // clocks; the newest kCommitsRemembered
    v1::Evaluation evaluation = {};                       // the last, as it came
  };

  template <typename Request>
  void Parse(const Buffer& bytes, const ReplyCallback& done, void (Coordinator::*serve)(const Request&, ReplyCallback));

  // coordinator.cc: waiting, publishing, the course of the run.
  void Hold(std::unique_ptr<Held> held, absl::Duration limit, Replies* replies) LEEWAY_REQUIRES(mu_);
  bool Attempt(Held& held, Replies* replies) LEEWAY_REQUIRES(mu_);
  void OnTimer(std::uint64_t id);
  void Tick();
  void ScheduleTick() LEEWAY_REQUIRES(mu_);
  // Draws every consequence of what has changed, publishes it, and answers who can be answered.
  void Settle(Replies* replies) LEEWAY_REQUIRES(mu_);
  bool Dirty() const LEEWAY_REQUIRES(mu_);
  void Publish() LEEWAY_REQUIRES(mu_);
  void PromoteJoiners() LEEWAY_REQUIRES(mu_);
  void CheckCourse() LEEWAY_REQUIRES(mu_);
  // There is one, or one waits to join: it was killed, and its predecessor's lease is just over.
  bool EvaluatorExpected() const LEEWAY_REQUIRES(mu_);
  void MoveTo(v1::RunState state, const std::string& reason) LEEWAY_REQUIRES(mu_);
  // The run has failed; no later than now it is FINISHING.
  void Fail(const std::string& reason) LEEWAY_REQUIRES(mu_);
  std::string Failure() const LEEWAY_REQUIRES(mu_) { return failed_ ? stop_reason_ : ""; }
  struct Finish {
    std::string reason;
    bool failed = false;
  };
  std::optional<Finish> ReasonToFinish() LEEWAY_REQUIRES(mu_);
  void Event(const std::string& text) LEEWAY_REQUIRES(mu_);
  // Once every change until now is saved: whatever a reply tells, a restarted coordinator knows.
  void Send(Replies replies);

  // coordinator_rollback.cc: going back to a checkpoint (docs/adr/0015-going-back-together.md).
  // To the newest good one of at most `at_most` steps; nothing to do when that is under way.
  void GoBack(const std::string& reason, std::uint64_t at_most) LEEWAY_REQUIRES(mu_);
  void OnChosen(const absl::StatusOr<v1::CheckpointIndex>& checkpoint) LEEWAY_EXCLUDES(mu_);
  struct Loss {
    std::string reason;      // "": none
    std::string said_by;     // the worker by whose word it is so; "": nobody's
    bool said_once = false;  // nobody says it again
  };
  // A shard cannot go on in this era: has the run go back, and says what the shard is answered.
  absl::Status AnswerLost(std::uint32_t shard, const Loss& loss) LEEWAY_REQUIRES(mu_);
  // What a shard says of its journal; the call that this process of it is accepted by is the first.
  void NoteJournal(const v1::WatchRequest& request) LEEWAY_REQUIRES(mu_);
  // So much of a journal was written, as worker `said_by` says ("": its shard). Goes back if a later process has less.
  void HearOfJournal(const v1::Journaled& journaled, const std::string& said_by) LEEWAY_REQUIRES(mu_);
  void DriveGoingBack() LEEWAY_REQUIRES(mu_);
  void CheckDivergence() LEEWAY_REQUIRES(mu_);
  // The run has failed, and its weights are worth no checkpoint.
  void FailDiverged(const std::string& reason) LEEWAY_REQUIRES(mu_);
  void HearOfBadWeights(const std::string& why) LEEWAY_REQUIRES(mu_);
  // After the run has gone back: may the joiners go live? Trainers of before are waited for, for the time of a lease.
  bool Regrouped() LEEWAY_REQUIRES(mu_);

  // coordinator_saved.cc
  v1::CoordinatorState Describe() LEEWAY_EXCLUDES(mu_);
  v1::CoordinatorState DescribeLocked() const LEEWAY_REQUIRES(mu_);
  absl::Status CheckRun(const v1::CoordinatorState& state) const LEEWAY_REQUIRES(mu_);
  absl::Status RestoreModel(const v1::CoordinatorState& state, const v1::Manifest& manifest) LEEWAY_REQUIRES(mu_);
  absl::Status RestoreShards(Instant now, const v1::CoordinatorState& state) LEEWAY_REQUIRES(mu_);
  absl::Status RestoreProgress(Instant now, const v1::CoordinatorState& state) LEEWAY_REQUIRES(mu_);

  // coordinator_members.cc
  void Join(const v1::JoinRequest& request, ReplyCallback done);
  bool AttemptJoin(Held& held, Replies* replies) LEEWAY_REQUIRES(mu_);
  absl::Status CheckProtocol(const v1::JoinRequest& request) const LEEWAY_REQUIRES(mu_);
  absl::Status CheckJoin(const v1::JoinRequest& request) LEEWAY_REQUIRES(mu_);
  absl::Status CheckDepth(const v1::JoinRequest& request) const LEEWAY_REQUIRES(mu_);
  absl::Status AdoptModel(const v1::JoinRequest& request) LEEWAY_REQUIRES(mu_);
  void MakeLeases() LEEWAY_REQUIRES(mu_);
  v1::JoinReply JoinReplyFor(const v1::Member& member, const v1::JoinRequest& request) const LEEWAY_REQUIRES(mu_);
  // The address book, into a JoinReply or HeartbeatReply.
  template <typename Reply>
  void AddAddresses(Reply* reply) const LEEWAY_REQUIRES(mu_);
  void Heartbeat(const v1::HeartbeatRequest& request, ReplyCallback done);
  void Leave(const v1::LeaveRequest& request, ReplyCallback done);
  void Forget(std::uint32_t worker, std::uint64_t incarnation) LEEWAY_REQUIRES(mu_);
  absl::Status CheckStamp(const v1::Stamp& stamp) LEEWAY_REQUIRES(mu_);

  // coordinator_shards.cc
  void ClaimShard(const v1::ClaimShardRequest& request, ReplyCallback done);
  void Watch(const v1::WatchRequest& request, ReplyCallback done);
  bool AttemptWatch(Held& held, Replies* replies) LEEWAY_REQUIRES(mu_);
  absl::Status CheckShard(const v1::WatchRequest& request) LEEWAY_REQUIRES(mu_);
  // 0, or what who asks is to show first: as long as another generation serves, only a process that lives takes its
  // place, not a call of a dead one that was late.
  std::uint64_t MustProve(const v1::WatchRequest& request) const LEEWAY_REQUIRES(mu_);
  // Why this shard cannot go on in this era.
  Loss WhyLost(const v1::WatchRequest& request) const LEEWAY_REQUIRES(mu_);

  // coordinator_data.cc
  void AcquireData(const v1::AcquireDataRequest& request, ReplyCallback done);
  bool AttemptAcquire(Held& held, Replies* replies) LEEWAY_REQUIRES(mu_);
  void CommitData(const v1::CommitDataRequest& request, ReplyCallback done);
  void OpenPush(const v1::OpenPushRequest& request, ReplyCallback done);
  void ReportRound(const v1::ReportRoundRequest& request, ReplyCallback done);
  void CloseRounds() LEEWAY_REQUIRES(mu_);
  void AddClose(const v1::RoundClose& close) LEEWAY_REQUIRES(mu_);
  // Who takes part in the open round.
  std::set<std::uint32_t> ExpectedRanks() const LEEWAY_REQUIRES(mu_);
  // A shard that is away has reports to bring: who has left owes them until it was heard again.
  Instant HeardOfAllShards() const LEEWAY_REQUIRES(mu_);
  bool LaterRoundsHaveMembers() const LEEWAY_REQUIRES(mu_);
  std::uint64_t RoundLimit() const LEEWAY_REQUIRES(mu_);

  // coordinator_checkpoint.cc
  void DriveCheckpoint() LEEWAY_REQUIRES(mu_);
  void CommitIfWritten(Instant now) LEEWAY_REQUIRES(mu_);
  // When training begins: there must be something to go back to (docs/adr/0015-going-back-together.md).
  bool FirstIsDue() const LEEWAY_REQUIRES(mu_);
  bool CheckpointDue(Instant now) const LEEWAY_REQUIRES(mu_);
  // "ps 1 is not there", or nothing: all are.
  std::string MissingShard() const LEEWAY_REQUIRES(mu_);
  bool LastIsDue() const LEEWAY_REQUIRES(mu_);  // trainers are gone: what is left to do is the last checkpoint
  // It is not committed yet: by the final evaluation the loss may have diverged.
  bool LastWaitsForEvaluation() const LEEWAY_REQUIRES(mu_);
  bool LastIsOver() const LEEWAY_REQUIRES(mu_) { return options_.committer == nullptr || last_over_; }
  void GiveUpLastIfLate(Instant now) LEEWAY_REQUIRES(mu_);
  void Checkpoint(const v1::CheckpointRequest& request, ReplyCallback done);
  bool AttemptCheckpoint(Held& held, Replies* replies) LEEWAY_REQUIRES(mu_);
  void OnBegun(std::uint64_t step, const absl::Status& status) LEEWAY_EXCLUDES(mu_);
  v1::CheckpointIndex CheckpointIndexNow() const LEEWAY_REQUIRES(mu_);
  void CaptureProgress() LEEWAY_REQUIRES(mu_);  // the state that belongs to the cut, once it is so far
  // Has everything come that belongs into the state, or need it not be waited for?
  bool ProgressComplete(Instant now) LEEWAY_REQUIRES(mu_);
  void OnCommitted(const absl::Status& status) LEEWAY_EXCLUDES(mu_);
  void Committed() LEEWAY_REQUIRES(mu_);
  void EndCheckpoint(const std::string& failure) LEEWAY_REQUIRES(mu_);

  // coordinator_quarantine.cc
  void HearOfNonFinite(const v1::WatchRequest& request) LEEWAY_REQUIRES(mu_);
  void PutInQuarantine(const std::string& name) LEEWAY_REQUIRES(mu_);
  absl::Status CheckQuarantine(const std::string& name) const LEEWAY_REQUIRES(mu_);
  // No trainer is there: has everybody finished of whom that can be expected?
  bool EveryWorkerIsThrough() const LEEWAY_REQUIRES(mu_);
  std::string InQuarantine() const LEEWAY_REQUIRES(mu_);  // "; in quarantine: ...", or nothing

  // coordinator_policy.cc
  // May somebody who is no member ask for something, and wait for it?
  absl::Status CheckAsker(const std::string& what, std::uint64_t run_id) const LEEWAY_REQUIRES(mu_);
  v1::CheckpointTimes TimesByFlags() const;
  void SetPolicy(const v1::SetPolicyRequest& request, ReplyCallback done);
  bool AttemptSetPolicy(Held& held, Replies* replies) LEEWAY_REQUIRES(mu_);
  absl::Status CheckMembersCan(const v1::Policy& next) const LEEWAY_REQUIRES(mu_);
  void HearOfPolicy(const v1::WatchRequest& request) LEEWAY_REQUIRES(mu_);
  void AdoptPolicy() LEEWAY_REQUIRES(mu_);  // what of it is this object's own matter
  void TellGivenUp() LEEWAY_REQUIRES(mu_);
  void DrivePolicy(Instant now) LEEWAY_REQUIRES(mu_);

  // coordinator_drain.cc
  void Drain(const v1::DrainRequest& request, ReplyCallback done);
  absl::Status FindDrained(const v1::DrainRequest& request, Held* held) LEEWAY_REQUIRES(mu_);
  bool AttemptDrain(Held& held, Replies* replies) LEEWAY_REQUIRES(mu_);
  bool IsDrained(const v1::Stamp& stamp) const LEEWAY_REQUIRES(mu_);

  // coordinator_status.cc
  void ReportProgress(const v1::ReportProgressRequest& request, ReplyCallback done);
  void GetStatus(const v1::GetStatusRequest& request, ReplyCallback done);
  void HearProgress(Instant now, const v1::Member& member, const v1::Progress& progress) LEEWAY_REQUIRES(mu_);
  void NoteRates(Instant now) LEEWAY_REQUIRES(mu_);
  // For whom or what everybody waits, in a few words; nothing where the run goes on.
  std::string WaitsFor() const LEEWAY_REQUIRES(mu_);
  // How long it has said nothing while this process could have heard it.
  absl::Duration Silence(const ShardInfo& shard) const LEEWAY_REQUIRES(mu_);
  bool IsSilent(const ShardInfo& shard) const LEEWAY_REQUIRES(mu_);
  // Its process has been heard within a lease, or would not have been, since this one was stopped.
  bool MayBeThere(const ShardInfo& shard) const LEEWAY_REQUIRES(mu_);
  void NoteSilence() LEEWAY_REQUIRES(mu_);
  // The checkpoint under way is committed, or given up because of `error`.
  void NoteCheckpoint(const std::string& error) LEEWAY_REQUIRES(mu_);

  // coordinator_metrics.cc
  void AddWorkerMetrics(Instant now, MetricsPage* page) LEEWAY_REQUIRES(mu_);
  void AddStalenessMetrics(MetricsPage* page) const LEEWAY_REQUIRES(mu_);

  const Options options_;
  Clock* const clock_;
  Executor* const executor_;
  CoordinatorStore* const store_;

  Mutex mu_;
  std::string shutdown_ LEEWAY_GUARDED_BY(mu_);  // not empty: the reason
  v1::WatchReply snapshot_ LEEWAY_GUARDED_BY(mu_);
  bool changed_ LEEWAY_GUARDED_BY(mu_) = true;  // beyond what the membership's epoch tells
  v1::RunState state_ LEEWAY_GUARDED_BY(mu_) = v1::STARTING;
  std::string stop_reason_ LEEWAY_GUARDED_BY(mu_);
  bool failed_ LEEWAY_GUARDED_BY(mu_) = false;    // for stop_reason_
  bool diverged_ LEEWAY_GUARDED_BY(mu_) = false;  // and because of that
  Membership membership_ LEEWAY_GUARDED_BY(mu_);
  RoundCloser rounds_ LEEWAY_GUARDED_BY(mu_);
  TicketOffice tickets_ LEEWAY_GUARDED_BY(mu_);
  std::optional<DataLeases> leases_ LEEWAY_GUARDED_BY(mu_);  // LEASED, once the training set is known
  PolicyCourse policies_ LEEWAY_GUARDED_BY(mu_);
  StopRule stop_ LEEWAY_GUARDED_BY(mu_);
  StatusBoard board_ LEEWAY_GUARDED_BY(mu_);
  RateHistory rates_ LEEWAY_GUARDED_BY(mu_);
  std::deque<v1::CheckpointStatus> checkpoints_told_ LEEWAY_GUARDED_BY(mu_);  // the newest kMostCheckpointsTold
  Quarantine quarantine_ LEEWAY_GUARDED_BY(mu_);
  std::vector<ShardInfo> shards_ LEEWAY_GUARDED_BY(mu_);
  std::map<std::uint32_t, std::uint64_t> drained_workers_ LEEWAY_GUARDED_BY(mu_);  // id -> incarnation
  std::map<std::uint32_t, std::uint64_t> drained_shards_ LEEWAY_GUARDED_BY(mu_);   // index -> generation
  WaitBoard waits_ LEEWAY_GUARDED_BY(mu_);
  WaitsUnderWay waits_under_way_ LEEWAY_GUARDED_BY(mu_);
  ShardClaims claims_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t address_book_version_ LEEWAY_GUARDED_BY(mu_) = 0;
  // The model and the training set, once the first worker has brought them.
  std::optional<Manifest> manifest_ LEEWAY_GUARDED_BY(mu_);
  std::optional<Placement> placement_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t init_fingerprint_ LEEWAY_GUARDED_BY(mu_) = 0;
  v1::DataConfig data_ LEEWAY_GUARDED_BY(mu_);
  v1::DataConfig test_data_ LEEWAY_GUARDED_BY(mu_);  // of the first evaluator that has told its own
  // Joiners by worker id: incarnation, and the sequence of the snapshot that first told of this joining. A shard's word
  // that it has installed one counts from there on; what a slow message says of an earlier joining does not.
  std::map<std::uint32_t, std::pair<std::uint64_t, std::uint64_t>> joining_since_ LEEWAY_GUARDED_BY(mu_);
  std::map<std::uint32_t, DataState> data_states_ LEEWAY_GUARDED_BY(mu_);       // by worker id
  std::map<std::uint32_t, std::uint64_t> data_cursor_ LEEWAY_GUARDED_BY(mu_);   // STATIC: by rank
  std::map<std::uint32_t, std::uint32_t> rank_samples_ LEEWAY_GUARDED_BY(mu_);  // `round`: batch of each rank
  std::set<std::uint32_t> finished_ranks_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t rounds_per_epoch_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t samples_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t samples_lost_ LEEWAY_GUARDED_BY(mu_) = 0;  // when the run went back
  std::uint64_t steps_ LEEWAY_GUARDED_BY(mu_) = 0;
  Instant started_ LEEWAY_GUARDED_BY(mu_);
  CheckpointCourse course_ LEEWAY_GUARDED_BY(mu_);
  CheckpointRecord checkpoints_ LEEWAY_GUARDED_BY(mu_);
  bool beginning_ LEEWAY_GUARDED_BY(mu_) = false;   // the committer makes room
  bool committing_ LEEWAY_GUARDED_BY(mu_) = false;  // the committer commits
  std::uint64_t checkpoint_step_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::optional<ProgressAtCut> at_cut_ LEEWAY_GUARDED_BY(mu_);  // of the checkpoint under way
  Instant cut_began_ LEEWAY_GUARDED_BY(mu_);
  std::optional<Instant> written_at_ LEEWAY_GUARDED_BY(mu_);  // when all shards had written it
  std::string committed_checkpoint_ LEEWAY_GUARDED_BY(mu_);
  // Going back.
  std::uint64_t era_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::string base_checkpoint_ LEEWAY_GUARDED_BY(mu_);
  DivergenceRule divergence_ LEEWAY_GUARDED_BY(mu_);
  std::uint32_t divergences_ LEEWAY_GUARDED_BY(mu_) = 0;
  bool going_back_ LEEWAY_GUARDED_BY(mu_) = false;      // a checkpoint is being chosen
  std::string owed_going_back_ LEEWAY_GUARDED_BY(mu_);  // for a loss that was said once; "": none
  std::string cannot_choose_ LEEWAY_GUARDED_BY(mu_);    // not empty: none can be read just now, and why
  Instant choose_after_ LEEWAY_GUARDED_BY(mu_);         // then: when it is tried again
  std::string stuck_ LEEWAY_GUARDED_BY(mu_);            // not empty: there was none, and why
  std::optional<v1::CoordinatorState> rolled_back_ LEEWAY_GUARDED_BY(mu_);  // what takes this one's place
  std::set<std::string> regrouping_ LEEWAY_GUARDED_BY(mu_);                 // trainers that are waited for
  std::optional<Instant> regroup_until_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t committed_number_ LEEWAY_GUARDED_BY(mu_) = 0;  // the cut's id
  std::uint64_t failed_number_ LEEWAY_GUARDED_BY(mu_) = 0;     // of the last one that was given up
  std::string failed_reason_ LEEWAY_GUARDED_BY(mu_);
  bool asked_for_ LEEWAY_GUARDED_BY(mu_) = false;                // somebody waits for one
  bool journal_full_ LEEWAY_GUARDED_BY(mu_) = false;             // a shard's
  std::uint64_t committed_sequence_ LEEWAY_GUARDED_BY(mu_) = 0;  // of the snapshot that tells of it
  // The last checkpoint.
  bool last_begun_ LEEWAY_GUARDED_BY(mu_) = false;  // the one under way is it
  bool last_over_ LEEWAY_GUARDED_BY(mu_) = false;   // committed or given up
  std::optional<Instant> last_since_ LEEWAY_GUARDED_BY(mu_);
  std::string last_failure_ LEEWAY_GUARDED_BY(mu_);
  std::optional<Instant> evaluator_waits_ LEEWAY_GUARDED_BY(mu_);  // when one asked to join, and was not let in
  std::optional<Instant> deserted_since_ LEEWAY_GUARDED_BY(mu_);
  std::optional<Instant> ended_ LEEWAY_GUARDED_BY(mu_);  // when trainers were told to finish
  Instant last_tick_ LEEWAY_GUARDED_BY(mu_);
  Instant heard_since_ LEEWAY_GUARDED_BY(mu_);  // the start, or when this process was last found to have been deaf
  Instant last_complaint_ LEEWAY_GUARDED_BY(mu_);
  // Requests that wait, by id. Bounded by members, candidates and shards: each has one of a kind under way.
  std::map<std::uint64_t, std::unique_ptr<Held>> held_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t next_held_ LEEWAY_GUARDED_BY(mu_) = 1;
  std::uint64_t tick_timer_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::deque<v1::RoundClose> closes_ LEEWAY_GUARDED_BY(mu_);                    // that some shard has not carried out
  std::map<std::uint64_t, std::uint64_t> void_tickets_ LEEWAY_GUARDED_BY(mu_);  // serial -> sequence that told it
};

}  // namespace leeway
