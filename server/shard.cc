#include "server/shard.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/retry.h"
#include "common/status_macros.h"

namespace leeway {

Shard::Shard(const Options& options, Clock* clock, Executor* executor)
    : options_(options), clock_(clock), executor_(executor), deltas_(options.generation) {}

Shard::~Shard() { Shutdown("destroyed"); }

void Shard::Post(std::function<void()> work) {
  if (replaying_) return work();
  executor_->Post(std::move(work));
}

void Shard::Run(Actions& actions) {
  for (auto& action : actions) action();
}

void Shard::Reply(const ReplyCallback& done, const google::protobuf::Message& message) {
  done(absl::OkStatus(), EncodeMessage(message));
}

void Shard::Shutdown(const std::string& reason) {
  Actions actions;
  {
    MutexLock lock(mu_);
    if (!shutdown_.empty()) return;
    shutdown_ = reason;
    for (auto& [id, held] : held_) {
      clock_->Cancel(held->timer);
      actions.push_back([done = std::move(held->done), reason] {
        done(absl::UnavailableError("shard: shutting down: " + reason), {});
      });
    }
    held_.clear();
  }
  Run(actions);
}

v1::RunState Shard::state() {
  MutexLock lock(mu_);
  return state_;
}

std::shared_ptr<BlockStore> Shard::store() {
  MutexLock lock(mu_);
  return weights_ready_ ? store_ : nullptr;
}

// --- Members ---------------------------------------------------------------------------------------------

void Shard::InstallMember(const v1::Member& member) {
  const WorkerId id = member.worker_id();
  auto it = members_.find(id);
  const bool same = it != members_.end() && it->second.proto.incarnation() == member.incarnation();
  if (!same && it != members_.end()) RemoveMember(id);
  const v1::MemberState was = same ? it->second.proto.state() : v1::OBSERVER;
  MemberInfo& info = members_[id];
  // It has been live, at this clock. This shard may not have been told: it hears of the newest snapshot only.
  // (A coordinator of the version before does not say was_live.)
  const bool has_entered = member.state() == v1::LIVE || member.state() == v1::PARKED || member.was_live() ||
                           (same && member.entry_clock() > 0);
  const bool enters = has_entered && (!info.entered || info.proto.entry_clock() != member.entry_clock());
  const bool news = !same || was != member.state() || enters;
  info.proto = member;
  if (enters) {
    if (info.entered) {
      info.window.Reenter(member.entry_clock());
      info.offset = 0;                    // the entry clock is one of the gate
      given_.Drop(member.incarnation());  // it pulls afresh
      CountWhole(id, info);
    } else {
      info.window.JumpTo(member.entry_clock(), v1::DROPPED);
    }
    info.entered = true;
  }
  switch (member.state()) {
    case v1::JOINING:
      // At the own minimum: it holds the gate until its entry clock is known on all shards. Who comes back from
      // parking goes on behind its own pushes: at a lower clock its steps would count as repetitions.
      if (news) clocks_.Install(id, std::max(LastMinimum(), info.gate_clock()), true);
      break;
    case v1::LIVE:
      if (news) clocks_.Install(id, std::max(info.gate_clock(), member.entry_clock()), true);
      break;
    case v1::PARKED:
      clocks_.Install(id, std::max(clocks_.Get(id), info.gate_clock()), false);
      break;
    default:
      clocks_.Remove(id);
  }
}

void Shard::RemoveMember(WorkerId worker) {
  const auto it = members_.find(worker);
  if (it == members_.end()) return;
  if (aggregation() == v1::EACH) stats_.set_pushes_partial(stats_.pushes_partial() + it->second.window.Started());
  open_pushes_.erase(open_pushes_.lower_bound({worker, 0}), open_pushes_.upper_bound({worker, ~std::uint64_t{0}}));
  clocks_.Remove(worker);
  deltas_.Drop(it->second.proto.incarnation());
  given_.Drop(it->second.proto.incarnation());
  if (it->second.proto.state() != v1::OBSERVER) {
    departed_.Add(it->second.proto.incarnation(), it->second.proto.rank(), std::move(it->second.window));
  }
  members_.erase(it);
}

void Shard::Adopt(const v1::WatchReply& snapshot) {
  run_id_ = snapshot.run_id();
  sequence_ = snapshot.sequence();
  membership_epoch_ = snapshot.membership_epoch();
  state_ = snapshot.state();
  failure_ = snapshot.failure();
  mean_samples_ = snapshot.mean_samples();
}

absl::Status Shard::ApplySnapshot(const v1::WatchReply& snapshot) {
  bool new_model = false;
  {
    MutexLock lock(mu_);
    if (run_id_ != 0 && run_id_ != snapshot.run_id()) {
      return absl::FailedPreconditionError(absl::StrCat("this shard belongs to run ", absl::Hex(run_id_),
                                                        ", the coordinator runs ", absl::Hex(snapshot.run_id())));
    }
    if (snapshot.sequence() < sequence_) return absl::OkStatus();  // an answer that was overtaken
    if (fingerprint_ != 0 && snapshot.model_fingerprint() != fingerprint_) {
      return absl::FailedPreconditionError(absl::StrCat("this shard holds model ", absl::Hex(fingerprint_),
                                                        ", the coordinator's is ",
                                                        absl::Hex(snapshot.model_fingerprint())));
    }
    new_model = fingerprint_ == 0 && snapshot.model_fingerprint() != 0;
  }
  if (new_model) RETURN_IF_ERROR(InstallModel(snapshot, true));

  Actions actions;
  {
    MutexLock lock(mu_);
    if (!replaying_) unconfirmed_ = false;
    if (snapshot.sequence() > sequence_) JournalSnapshot(snapshot, new_model);
    if (run_id_ == 0) book_ = PolicyBook(snapshot.policy());
    Adopt(snapshot);
    // Who is gone leaves first: what it held must not count as held by who comes.
    std::set<WorkerId> named;
    for (const v1::Member& member : snapshot.members()) named.insert(member.worker_id());
    std::vector<WorkerId> gone;
    for (const auto& [id, info] : members_) {
      if (named.count(id) == 0) gone.push_back(id);
    }
    for (WorkerId id : gone) RemoveMember(id);
    // A decision moves the gate's clocks before anybody is installed by them; a change begins with all who are there.
    const bool begins = book_.Begins(snapshot.policy_change());
    if (!begins) FollowPolicy(snapshot);
    // Who is live before who is joining: a joiner enters at the minimum of the others.
    for (const v1::MemberState state : {v1::LIVE, v1::PARKED, v1::OBSERVER, v1::JOINING}) {
      for (const v1::Member& member : snapshot.members()) {
        if (member.state() == state) InstallMember(member);
      }
    }
    if (begins) FollowPolicy(snapshot);
    for (std::uint64_t serial : snapshot.void_tickets()) tickets_.Settle(serial);
    for (const v1::RoundClose& close : snapshot.closes()) {
      const std::uint64_t next = closes_.empty() ? open_round_ + (closing_ ? 1 : 0) : closes_.back().round() + 1;
      if (close.round() == next) closes_.push_back(close);
    }
    StartClose(&actions);
    FollowCut(snapshot.cut());
    if (cut_sink_ != nullptr && !replaying_ && committed_ != snapshot.committed_checkpoint()) {
      committed_ = snapshot.committed_checkpoint();
      if (committed_ == cut_made_) {
        journal_at_checkpoint_ = journal_at_cut_;
        journal_replayed_ = 0;
      }
      cut_sink_->Committed(committed_);
    }
    TryCut();
    Pump(&actions);
  }
  Run(actions);
  return absl::OkStatus();
}

v1::WatchRequest Shard::Describe() {
  MutexLock lock(mu_);
  v1::WatchRequest request;
  request.set_shard_index(options_.index);
  request.set_num_shards(options_.num_shards);
  request.set_generation(options_.generation);
  request.set_known_sequence(sequence_);
  request.set_run_id(run_id_);
  request.set_protocol_version(options_.protocol_version);
  request.set_closed_round(open_round_);
  request.set_weights_ready(weights_ready_);
  request.set_keeps_journal(journal_ != nullptr);
  if (journal_ != nullptr) {
    request.mutable_journal()->set_found(journal_found_);
    request.mutable_journal()->set_written(journal_->written());
  }
  request.set_lost(lost_);
  request.set_lost_said_by(lost_said_by_);
  for (const auto& [id, info] : members_) {
    if (info.proto.state() != v1::JOINING) continue;
    v1::MemberClock& installed = *request.add_installed();
    installed.set_worker_id(id);
    installed.set_incarnation(info.proto.incarnation());
    installed.set_clock(clocks_.Get(id));
  }
  if (cut_phase_ != CutPhase::kNone) *request.mutable_cut() = cut_report_;
  if (journal_ != nullptr && options_.journal_max_bytes > 0) {
    const std::uint64_t since = journal_replayed_ + journal_->bytes() - journal_at_checkpoint_;
    request.set_wants_checkpoint(since > options_.journal_max_bytes);
  }
  nonfinite_runs_.Save(request.mutable_nonfinite_runs());
  if (book_.ack().id() != 0) *request.mutable_policy_ack() = book_.ack();
  request.set_policy_number(book_.now().number());
  request.set_policy_busy(PolicyBusy());
  v1::ShardStats& stats = *request.mutable_stats();
  stats = stats_;
  stats.set_version(version_);
  stats.set_samples(samples_);
  stats.set_held_bytes(rounds_.held_bytes() + KeptBytes());
  stats.set_inflight_bytes(budget_.total() - rounds_.held_bytes());
  *stats.mutable_gap() = gap_.ToProto();
  *stats.mutable_delay() = delay_.ToProto();
  return request;
}

// --- Checks ----------------------------------------------------------------------------------------------

absl::StatusOr<Shard::StampCheck> Shard::CheckStamp(const v1::Stamp& stamp) const {
  if (run_id_ != 0 && stamp.run_id() != run_id_) {
    return absl::FailedPreconditionError(absl::StrCat("shard ", options_.index, ": this is run ", absl::Hex(run_id_),
                                                      ", the request is of run ", absl::Hex(stamp.run_id())));
  }
  const bool ahead = stamp.membership_epoch() > membership_epoch_ || stamp.policy_number() > book_.now().number();
  if (run_id_ == 0 || ahead) return StampCheck::kAhead;
  const auto it = members_.find(stamp.worker_id());
  if (it != members_.end() && it->second.proto.incarnation() == stamp.incarnation()) {
    return it->second.proto.state() == v1::JOINING ? StampCheck::kAhead : StampCheck::kOk;
  }
  const std::string live = it == members_.end() ? "none" : absl::StrCat(absl::Hex(it->second.proto.incarnation()));
  return absl::FailedPreconditionError(absl::StrCat(
      "shard ", options_.index, ": incarnation ", absl::Hex(stamp.incarnation()), " of worker ", stamp.worker_id(),
      " is no member at membership epoch ", membership_epoch_, " (live incarnation: ", live, "); join again"));
}

absl::Status Shard::CheckRun(const v1::BlockRun& run) const {
  const bool ours =
      run.num_blocks() == 0 ||
      (run.first_block() % options_.num_shards == options_.index && run.first_block() < placement_->num_blocks() &&
       run.num_blocks() <= store_->num_blocks() - store_->LocalIndex(run.first_block()));
  if (ours) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "shard ", options_.index, " of ", options_.num_shards, " was asked for ", run.num_blocks(), " blocks from block ",
      run.first_block(), "; it owns ", store_->num_blocks(), " of the ", placement_->num_blocks(),
      " blocks, those with b mod ", options_.num_shards, " == ", options_.index));
}

bool Shard::IsMember(const v1::Stamp& stamp) const {
  const auto it = members_.find(stamp.worker_id());
  return it != members_.end() && it->second.proto.incarnation() == stamp.incarnation();
}

absl::StatusOr<ByteBudget::Charge> Shard::Charge(WorkerId worker, std::uint64_t bytes, bool anyway) {
  if (anyway) return budget_.TakeAnyway(worker, bytes);
  budget_.SetLimit(options_.max_held_bytes - std::min(KeptBytes(), options_.max_held_bytes), members_.size());
  if (ByteBudget::Charge charge = budget_.Take(worker, bytes)) return charge;
  return WithRetryAfter(
      absl::ResourceExhaustedError(absl::StrCat(
          "shard ", options_.index, " holds ", budget_.held(worker), " bytes of worker ", worker, ", whose share is ",
          budget_.share(), "; ", budget_.total() + KeptBytes(), " in all, limit ", options_.max_held_bytes)),
      budget_.Delay(worker));
}

absl::Status Shard::ChargePayload(Held& held, const v1::Stamp& stamp, Buffer& payload, bool anyway) {
  if (held.charged) return absl::OkStatus();
  // What is corrected becomes float32.
  const std::uint64_t corrected = held.kind == Held::kPush ? CorrectedBytes(held.push->message) : 0;
  ASSIGN_OR_RETURN(ByteBudget::Charge charge,
                   Charge(stamp.worker_id(), std::max<std::uint64_t>(payload.size(), corrected), anyway));
  payload.Keep(std::move(charge));
  held.charged = true;
  return absl::OkStatus();
}

// --- Waiting ---------------------------------------------------------------------------------------------

bool Shard::Attempt(Held& held, Actions* actions) {
  if (held.kind == Held::kPull) return AttemptPull(held, actions);
  if (held.kind == Held::kPush) return AttemptPush(held, actions);
  return held.kind == Held::kWatchRound ? AttemptWatchRound(held, actions) : AttemptPutWeights(held, actions);
}

void Shard::Hold(std::unique_ptr<Held> held, absl::Duration limit, Actions* actions) {
  if (!shutdown_.empty()) {
    actions->push_back([done = std::move(held->done), reason = shutdown_] {
      done(absl::UnavailableError("shard: shutting down: " + reason), {});
    });
    return;
  }
  held->since = clock_->Now();
  if (Attempt(*held, actions)) return;
  const std::uint64_t id = next_held_++;
  held->timer = clock_->RunAt(held->since + std::clamp(limit, absl::ZeroDuration(), kMaxHold),
                              [this, id] { executor_->Post([this, id] { OnTimer(id); }); });
  held_.emplace(id, std::move(held));
}

void Shard::Pump(Actions* actions) {
  // An attempt may advance a clock and so ask for another pump: it is made after this one, not inside it.
  pump_again_ = true;
  if (pumping_) return;
  pumping_ = true;
  while (pump_again_) {
    pump_again_ = false;
    for (auto it = held_.begin(); it != held_.end();) {
      if (Attempt(*it->second, actions)) {
        clock_->Cancel(it->second->timer);
        it = held_.erase(it);
      } else {
        ++it;
      }
    }
  }
  pumping_ = false;
}

void Shard::OnTimer(std::uint64_t id) {
  Actions actions;
  {
    MutexLock lock(mu_);
    const auto it = held_.find(id);
    if (it == held_.end()) return;
    const std::unique_ptr<Held> held = std::move(it->second);
    held_.erase(it);
    held->expired = true;  // so that the attempt answers one way or the other
    Attempt(*held, &actions);
  }
  Run(actions);
}

}  // namespace leeway
