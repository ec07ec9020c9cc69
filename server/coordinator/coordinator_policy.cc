// Coordinator: changes of the policy (docs/adr/0016-policy-changes.md).
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/message_differencer.h"
#include "server/check_policy.h"
#include "server/coordinator/coordinator.h"
#include "server/policy_settings.h"

namespace leeway {

absl::Status Coordinator::CheckAsker(const std::string& what, std::uint64_t run_id) const {
  if (run_id != 0 && run_id != options_.run_id) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, ": of run ", absl::Hex(run_id), "; this is run ", absl::Hex(options_.run_id)));
  }
  const auto askers = std::count_if(held_.begin(), held_.end(),
                                    [](const auto& held) { return held.second->kind >= Held::kCheckpoint; });
  if (static_cast<std::size_t>(askers) < kMostAskers) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(what, ": ", askers, " requests wait already"));
}

v1::CheckpointTimes Coordinator::TimesByFlags() const {
  v1::CheckpointTimes times;
  times.set_steps(options_.checkpoint_steps);
  const bool never = options_.checkpoint_interval == absl::InfiniteDuration();
  times.set_interval_seconds(never ? 0 : absl::ToDoubleSeconds(options_.checkpoint_interval));
  return times;
}

void Coordinator::SetPolicy(const v1::SetPolicyRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    absl::Status status = CheckAsker("set", request.run_id());
    if (status.ok()) status = WithSettings(policies_.policy(), request.settings(), TimesByFlags()).status();
    if (!status.ok()) {
      replies.Refuse(std::move(done), status);
    } else {
      auto held = std::make_unique<Held>();
      held->kind = Held::kSetPolicy;
      held->set_policy = request;
      held->done = std::move(done);
      Hold(std::move(held), absl::Milliseconds(request.wait_millis()), &replies);
    }
  }
  Send(std::move(replies));
}

absl::Status Coordinator::CheckMembersCan(const v1::Policy& next) const {
  for (const auto& [id, member] : membership_.members()) {
    if (member.state() == v1::OBSERVER || next.staleness_bound() != 0 || member.pipeline_depth() == 0) continue;
    return absl::FailedPreconditionError(absl::StrCat("staleness_bound=0: worker '", member.name(),
                                                      "' runs with --pipeline_depth=", member.pipeline_depth(),
                                                      ", which needs a bound of at least 1 or -1"));
  }
  if (options_.committer == nullptr && next.has_checkpoint_times()) {
    return absl::FailedPreconditionError("checkpoint_steps, checkpoint_interval: ps 0 has no --checkpoint_dir");
  }
  return absl::OkStatus();
}

bool Coordinator::AttemptSetPolicy(Held& held, Replies* replies) {
  v1::SetPolicyReply reply;
  *reply.mutable_policy() = policies_.policy();
  const auto refuse = [&](const absl::Status& status) {
    replies->Refuse(std::move(held.done), status);
    return true;
  };
  const auto answer = [&] {
    replies->Answer(std::move(held.done), reply);
    return true;
  };
  const auto not_yet = [&](const std::string& reason) {
    if (!held.expired) return false;
    reply.mutable_not_yet()->set_reason(reason);
    return answer();
  };
  if (held.change != 0 && policies_.failed().id == held.change) {
    return refuse(absl::AbortedError(absl::StrCat("nothing is changed: ", policies_.failed().reason)));
  }
  const absl::StatusOr<v1::Policy> next = WithSettings(policies_.policy(), held.set_policy.settings(), TimesByFlags());
  if (!next.ok()) return refuse(next.status());  // with what somebody else has set meanwhile
  if (google::protobuf::util::MessageDifferencer::Equals(*next, policies_.policy())) {
    // A run that is over needs no shard to work by it.
    if (policies_.InEffect() || state_ == v1::FINISHED) return answer();
    return not_yet(absl::StrCat("policy ", policies_.policy().number(), " is decided; ", policies_.WaitsFor()));
  }
  const std::uint64_t based_on = held.set_policy.based_on();
  if (based_on != 0 && based_on != policies_.policy().number()) {
    return refuse(absl::AbortedError(absl::StrCat("set: policy ", policies_.policy().number(),
                                                  " is decided meanwhile; this was to change policy ", based_on)));
  }
  if (state_ != v1::TRAINING) {
    return refuse(absl::FailedPreconditionError(
        absl::StrCat("set: ", state_ == v1::STARTING ? "training has not begun" : "training is over")));
  }
  if (absl::Status can = CheckMembersCan(*next); !can.ok()) return refuse(can);
  if (policies_.pending()) return not_yet(policies_.WaitsFor());
  std::string busy = policies_.Busy();
  if (busy.empty()) busy = MissingShard();
  for (const auto& [id, member] : membership_.members()) {
    if (member.state() == v1::JOINING) busy = absl::StrCat("worker '", member.name(), "' is joining");
  }
  if (!busy.empty()) return not_yet(absl::StrCat("nothing is changed yet: ", busy));
  // A number that no change had before, also not of a coordinator that this one has taken up from.
  held.change = snapshot_.sequence() + 1;
  policies_.Begin(clock_->Now(), held.change, *next);
  changed_ = true;
  return not_yet(policies_.WaitsFor());
}

void Coordinator::HearOfPolicy(const v1::WatchRequest& request) {
  const v1::Policy before = policies_.policy();
  const std::uint64_t failed = policies_.failed().id;
  if (!policies_.Report(request.shard_index(), request)) return;
  changed_ = true;
  if (policies_.failed().id != failed) return TellGivenUp();
  if (policies_.policy().number() == before.number()) return;
  if (NeedsTicket(policies_.policy()) && !NeedsTicket(before)) tickets_.GoOnFrom(samples_);
  AdoptPolicy();
  Event(absl::StrCat("policy ", policies_.policy().number(), ": ", SettingChanges(before, policies_.policy())));
}

void Coordinator::AdoptPolicy() {
  const v1::Policy& policy = policies_.policy();
  quarantine_.set_after(policy.quarantine_after());
  if (!policy.has_checkpoint_times()) return;
  const double seconds = policy.checkpoint_times().interval_seconds();
  course_.SetTimes(policy.checkpoint_times().steps(), seconds > 0 ? absl::Seconds(seconds) : absl::InfiniteDuration());
}

void Coordinator::TellGivenUp() {
  Event(absl::StrCat("a change of the policy is given up: ", policies_.failed().reason));
  changed_ = true;
}

void Coordinator::DrivePolicy(Instant now) {
  if (!policies_.pending()) return;
  if (state_ == v1::TRAINING ? policies_.Expire(now) : (policies_.GiveUp("training is over"), true)) TellGivenUp();
}

}  // namespace leeway
