#include "server/coordinator/coordinator.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/coordinator/rounds_per_epoch.h"

namespace leeway {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr absl::Duration kComplainEvery = absl::Seconds(10);

}  // namespace

Coordinator::Coordinator(const Options& options, Clock* clock, Executor* executor, CoordinatorStore* store)
    : options_(options),
      clock_(clock),
      executor_(executor),
      store_(store),
      membership_({options.num_shards, std::max(1u, options.policy.num_workers()),
                   options.policy.data_sharing() == v1::STATIC || options.policy.aggregation() == v1::ROUND,
                   options.lease, options.num_evaluators}),
      rounds_(options.num_shards, options.policy.round_quorum()),
      policies_(options.policy, options.num_shards),
      stop_(options.policy.stop()),
      quarantine_(options.policy.quarantine_after()),
      shards_(options.num_shards),
      course_({.num_shards = options.num_shards,
               .every_steps = options.checkpoint_steps,
               .every = options.checkpoint_interval,
               .one_limit = options.policy.aggregation() == v1::ROUND}),
      divergence_(options.rollback_on_divergence) {}

Coordinator::~Coordinator() { Shutdown("destroyed"); }

void Coordinator::Send(Replies replies) {
  if (replies.empty()) return;
  store_->WhenSaved([replies = std::move(replies)](const absl::Status& saved) {
    if (saved.ok()) return replies.Send();
    replies.SendAll(absl::UnavailableError(absl::StrCat("coordinator: this was not saved: ", saved.message())));
  });
}

void Coordinator::Start() {
  store_->SetSource([this] { return Describe(); });
  MutexLock lock(mu_);
  Publish();
  last_tick_ = last_complaint_ = heard_since_ = clock_->Now();
  membership_.RenewAll(last_tick_);
  ScheduleTick();
}

void Coordinator::Shutdown(const std::string& reason) {
  Replies replies;
  {
    MutexLock lock(mu_);
    if (!shutdown_.empty()) return;
    shutdown_ = reason;
    clock_->Cancel(tick_timer_);
    for (auto& [id, held] : held_) {
      clock_->Cancel(held->timer);
      replies.Refuse(std::move(held->done), absl::UnavailableError("coordinator: shutting down: " + reason));
    }
    held_.clear();
  }
  replies.Send();
}

bool Coordinator::Over() {
  MutexLock lock(mu_);
  const std::uint64_t last = snapshot_.sequence();
  return state_ == v1::FINISHED && std::all_of(shards_.begin(), shards_.end(),
                                               [last](const ShardInfo& shard) { return shard.acknowledged >= last; });
}

v1::RunState Coordinator::state() {
  MutexLock lock(mu_);
  return state_;
}

absl::Status Coordinator::last_checkpoint() {
  MutexLock lock(mu_);
  if (last_failure_.empty()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("training has ended, but there is no checkpoint of its end in ",
                                             options_.checkpoint_dir, ": ", last_failure_));
}

template <typename Request>
void Coordinator::Parse(const Buffer& bytes, const ReplyCallback& done,
                        void (Coordinator::*serve)(const Request&, ReplyCallback)) {
  Request request;
  if (absl::Status status = DecodeMessage(bytes, &request); !status.ok()) return done(status, {});
  (this->*serve)(request, done);
}

void Coordinator::Handle(const std::string& method, const Buffer& request, ReplyCallback done) {
  {
    MutexLock lock(mu_);
    if (!shutdown_.empty()) {
      executor_->Post(
          [done, reason = shutdown_] { done(absl::UnavailableError("coordinator: shutting down: " + reason), {}); });
      return;
    }
  }
  if (method == "GetStatus") return Parse(request, done, &Coordinator::GetStatus);
  if (absl::Status ready = store_->Ready(); !ready.ok()) return done(ready, {});
  if (method == "Join") return Parse(request, done, &Coordinator::Join);
  if (method == "Heartbeat") return Parse(request, done, &Coordinator::Heartbeat);
  if (method == "Leave") return Parse(request, done, &Coordinator::Leave);
  if (method == "WatchMembership") return Parse(request, done, &Coordinator::Watch);
  if (method == "ReportRound") return Parse(request, done, &Coordinator::ReportRound);
  if (method == "OpenPush") return Parse(request, done, &Coordinator::OpenPush);
  if (method == "AcquireData") return Parse(request, done, &Coordinator::AcquireData);
  if (method == "CommitData") return Parse(request, done, &Coordinator::CommitData);
  if (method == "ClaimShard") return Parse(request, done, &Coordinator::ClaimShard);
  if (method == "Checkpoint") return Parse(request, done, &Coordinator::Checkpoint);
  if (method == "SetPolicy") return Parse(request, done, &Coordinator::SetPolicy);
  if (method == "Drain") return Parse(request, done, &Coordinator::Drain);
  if (method == "ReportProgress") return Parse(request, done, &Coordinator::ReportProgress);
  done(absl::UnimplementedError("coordinator: no method '" + method + "'"), {});
}

// --- Waiting ---------------------------------------------------------------------------------------------

bool Coordinator::Attempt(Held& held, Replies* replies) {
  switch (held.kind) {
    case Held::kJoin:
      return AttemptJoin(held, replies);
    case Held::kWatch:
      return AttemptWatch(held, replies);
    case Held::kCheckpoint:
      return AttemptCheckpoint(held, replies);
    case Held::kSetPolicy:
      return AttemptSetPolicy(held, replies);
    case Held::kDrain:
      return AttemptDrain(held, replies);
    case Held::kAcquire:
      break;
  }
  return AttemptAcquire(held, replies);
}

void Coordinator::Hold(std::unique_ptr<Held> held, absl::Duration limit, Replies* replies) {
  const std::uint64_t id = next_held_++;
  const absl::Duration most = held->kind >= Held::kCheckpoint ? kMaxAskerHold : kMaxHold;
  held->timer = clock_->RunAt(clock_->Now() + std::clamp(limit, absl::ZeroDuration(), most),
                              [this, id] { executor_->Post([this, id] { OnTimer(id); }); });
  held_.emplace(id, std::move(held));
  Settle(replies);
}

void Coordinator::OnTimer(std::uint64_t id) {
  Replies replies;
  {
    MutexLock lock(mu_);
    const auto it = held_.find(id);
    if (it == held_.end()) return;
    const std::unique_ptr<Held> held = std::move(it->second);
    held_.erase(it);
    held->expired = true;  // so that the attempt answers one way or the other
    Attempt(*held, &replies);
    Settle(&replies);
  }
  Send(std::move(replies));
}

bool Coordinator::Dirty() const { return changed_ || membership_.epoch() != snapshot_.membership_epoch(); }

void Coordinator::Settle(Replies* replies) {
  do {
    PromoteJoiners();
    CloseRounds();
    CheckCourse();
    if (Dirty()) Publish();
    // Answering may change something: a joiner is admitted, a worker parked.
    for (auto it = held_.begin(); it != held_.end();) {
      if (Attempt(*it->second, replies)) {
        clock_->Cancel(it->second->timer);
        it = held_.erase(it);
      } else {
        ++it;
      }
    }
  } while (Dirty());
}

void Coordinator::Publish() {
  v1::WatchReply next;
  next.set_run_id(options_.run_id);
  next.set_sequence(snapshot_.sequence() + 1);
  next.set_membership_epoch(membership_.epoch());
  for (const auto& [id, member] : membership_.members()) *next.add_members() = member;
  *next.mutable_policy() = policies_.policy();
  if (manifest_) {
    *next.mutable_manifest() = manifest_->ToProto();
    next.set_model_fingerprint(manifest_->fingerprint());
    next.set_block_elements(placement_->block_elements());
    next.set_await_weights(init_fingerprint_ != 0);
  }
  for (const v1::RoundClose& close : closes_) *next.add_closes() = close;
  for (auto& [serial, told] : void_tickets_) {
    if (told == 0) told = next.sequence();
    next.add_void_tickets(serial);
  }
  next.set_state(state_);
  next.set_mean_samples(membership_.MeanSamples());
  for (const ShardInfo& shard : shards_) next.add_shard_addresses(shard.address);
  if (course_.under_way()) *next.mutable_cut() = course_.cut();
  if (options_.committer != nullptr && next.cut().id() != snapshot_.cut().id()) {
    options_.committer->UnderWay(next.cut(), placement_.value_or(Placement()));
  }
  if (policies_.change().id() != 0) *next.mutable_policy_change() = policies_.change();
  for (const auto& [index, generation] : drained_shards_) {
    if (shards_[index].generation != generation) continue;
    v1::DrainOrder& order = *next.add_drains();
    order.set_shard_index(index);
    order.set_generation(generation);
  }
  next.set_committed_checkpoint(committed_checkpoint_);
  next.set_era(era_);
  next.set_base_checkpoint(base_checkpoint_);
  next.set_failure(Failure());
  const auto before = std::exchange(joining_since_, {});
  for (const v1::Member& member : next.members()) {
    if (member.state() != v1::JOINING) continue;
    const auto it = before.find(member.worker_id());
    const bool known = it != before.end() && it->second.first == member.incarnation();
    joining_since_[member.worker_id()] = {member.incarnation(), known ? it->second.second : next.sequence()};
  }
  snapshot_ = std::move(next);
  changed_ = false;
  store_->Changed();
}

// --- The course of the run -------------------------------------------------------------------------------

void Coordinator::Event(const std::string& text) {
  spdlog::info("coordinator: {}", text);
  board_.AddEvent(clock_->Now(), text);
}

void Coordinator::PromoteJoiners() {
  if (!membership_.Installed()) return;
  // In rounds, those who come back together take part in the one that is open: it has no contributors yet.
  const bool regrouping = !regrouping_.empty();
  if (regrouping && !Regrouped()) return;
  const bool running = policies_.policy().aggregation() == v1::ROUND && state_ != v1::STARTING && !regrouping;
  std::optional<std::uint64_t> round_entry;
  if (policies_.policy().aggregation() == v1::ROUND) {
    // The open round has its contributors, living or dead: a joiner takes part from the next one on.
    round_entry = rounds_.open_round() + (running ? 1 : 0);
  }
  std::vector<std::uint32_t> joiners;
  std::vector<std::string> names;
  for (const auto& [id, member] : membership_.members()) {
    if (member.state() != v1::JOINING) continue;
    joiners.push_back(id);
    names.push_back(member.name());
  }
  if (names.empty() || !membership_.Promote(round_entry)) return;
  for (const std::uint32_t id : joiners) {
    const v1::Member& member = *membership_.Find(id);
    board_.SetState(id, member.name(), v1::TRAINER, member.rank(), "live", "");
    board_.EnterAt(id, member.entry_clock());
  }
  if (state_ == v1::STARTING) {
    started_ = clock_->Now();
    board_.Start(started_);
    course_.Start(started_, steps_);
    for (const auto& [id, member] : membership_.members()) {
      if (member.state() != v1::LIVE) continue;
      rank_samples_[member.rank()] = member.samples_per_step();
    }
    if (policies_.policy().aggregation() == v1::ROUND) {
      rounds_per_epoch_ = RoundsPerEpoch(data_.num_records(), policies_.policy().num_workers(), rank_samples_);
    }
    MoveTo(v1::TRAINING, absl::StrCat("training begins with ", names.size(), " workers: ", absl::StrJoin(names, ", ")));
  } else {
    Event(absl::StrCat("live: ", absl::StrJoin(names, ", ")));
  }
}

void Coordinator::MoveTo(v1::RunState state, const std::string& reason) {
  state_ = state;
  changed_ = true;
  if (state == v1::FINISHING) {
    stop_reason_ = reason;
    ended_ = clock_->Now();
  }
  Event(absl::StrCat(v1::RunState_Name(state), ": ", reason));
}

void Coordinator::Fail(const std::string& reason) {
  failed_ = changed_ = true;
  if (state_ == v1::TRAINING) return MoveTo(v1::FINISHING, reason);
  stop_reason_ = reason;
  Event(absl::StrCat("the run has failed: ", reason));
}

std::optional<Coordinator::Finish> Coordinator::ReasonToFinish() {
  const Instant now = clock_->Now();
  const bool round = policies_.policy().aggregation() == v1::ROUND;
  if (round && rounds_.open_round() >= RoundLimit()) return Finish{absl::StrCat(RoundLimit(), " rounds are closed")};
  const std::uint64_t epochs = leases_ ? leases_->epochs_done() : 0;
  if (auto reason = stop_.Check(epochs, steps_, now - started_)) return Finish{*std::move(reason)};
  // While a ps is missing nobody can join; and where it is this machine that is cut off, workers are missing as well.
  const bool shards_here =
      MissingShard().empty() &&
      std::all_of(shards_.begin(), shards_.end(), [](const ShardInfo& shard) { return shard.generation != 0; });
  // And while a round waits for what those who have left pushed to it, it is not the last word.
  if (membership_.trainers() > 0 || !shards_here || !rounds_.Owed(HeardOfAllShards()).empty()) {
    deserted_since_.reset();
    return std::nullopt;
  }
  if (EveryWorkerIsThrough()) return Finish{"every worker has finished" + InQuarantine()};
  if (!deserted_since_) deserted_since_ = now;
  if (now - *deserted_since_ < options_.abandon_timeout) return std::nullopt;
  // Without a limit workers were to train until they are told to go: that they have is no failure.
  return Finish{absl::StrCat("no worker for ", absl::FormatDuration(options_.abandon_timeout), InQuarantine()),
                stop_.limited() || !quarantine_.empty()};
}

void Coordinator::CheckCourse() {
  if (state_ == v1::TRAINING) {
    if (const std::optional<Finish> finish = ReasonToFinish()) {
      finish->failed ? Fail(finish->reason) : MoveTo(v1::FINISHING, finish->reason);
    }
  }
  if ((state_ == v1::FINISHING || state_ == v1::EVALUATING) && divergence_.diverged() && !failed_) {
    FailDiverged(absl::StrCat(stop_reason_, ", but the loss has diverged: ", divergence_.reason()));
  }
  if (state_ == v1::FINISHING && membership_.trainers() == 0) {
    if (EvaluatorExpected()) {
      MoveTo(v1::EVALUATING, "the final weights are evaluated");
    } else if (LastIsOver()) {
      MoveTo(v1::FINISHED, stop_reason_);
    }
  }
  if (state_ == v1::EVALUATING && !EvaluatorExpected() && LastIsOver()) MoveTo(v1::FINISHED, stop_reason_);
}

bool Coordinator::EvaluatorExpected() const {
  if (membership_.observers() > 0) return true;
  return evaluator_waits_ && clock_->Now() - *evaluator_waits_ <= kMaxHold;
}

void Coordinator::ScheduleTick() {
  tick_timer_ = clock_->RunAt(clock_->Now() + kTick, [this] { executor_->Post([this] { Tick(); }); });
}

void Coordinator::Tick() {
  Replies replies;
  {
    MutexLock lock(mu_);
    if (!shutdown_.empty()) return;
    const Instant now = clock_->Now();
    // This process was stopped or starved, or its disk is full: nobody could be heard, so nobody is overdue.
    if (now - last_tick_ > options_.lease / 3 || !store_->Ready().ok()) {
      membership_.RenewAll(now);
      heard_since_ = now;
    }
    last_tick_ = now;
    NoteSilence();
    for (const Membership::Lost& lost : membership_.Expire(now)) {
      board_.SetState(lost.worker, lost.name, lost.role, lost.rank, "expired", "its lease ran out");
      Event(absl::StrCat("worker '", lost.name, "' is out: no heartbeat for ",
                         absl::FormatDuration(absl::Trunc(options_.lease + lost.overdue, absl::Milliseconds(10)))));
      Forget(lost.worker, lost.incarnation);
    }
    if (now - last_complaint_ >= kComplainEvery) {
      last_complaint_ = now;
      const std::string waits = WaitsFor();
      if (deserted_since_) {
        spdlog::warn("coordinator: no worker is left; waiting for one{}", InQuarantine());
      } else if (!waits.empty()) {
        spdlog::info("coordinator: waiting: {}", waits);
      }
    }
    DriveCheckpoint();
    DrivePolicy(now);
    DriveGoingBack();
    Settle(&replies);
    NoteRates(now);
    ScheduleTick();
  }
  Send(std::move(replies));
}

}  // namespace leeway
