// Shard: pulls. The gate decides, the block store answers.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/shard.h"

namespace leeway {

void Shard::Pull(const Buffer& request, ReplyCallback done) {
  auto held = std::make_unique<Held>();
  if (absl::Status status = DecodeMessage(request, &held->pull, kMaxRequestHeaderBytes); !status.ok()) {
    return done(status, {});
  }
  held->done = std::move(done);
  const absl::Duration limit = absl::Milliseconds(held->pull.wait_millis());
  Actions actions;
  {
    MutexLock lock(mu_);
    Hold(std::move(held), limit, &actions);
  }
  Run(actions);
}

void Shard::PushPull(const Buffer& request, ReplyCallback done) {
  v1::PushPullRequest both;
  auto push = std::make_shared<Decoded<v1::PushRequest>>();
  if (absl::Status status = DecodeMessage(request, &both, &push->payload, kMaxRequestHeaderBytes); !status.ok()) {
    return done(status, {});
  }
  both.mutable_push()->clear_payload();  // the payload is beside it
  push->message = both.push();
  // The push's reply comes first; then the pull is tried once, with the push in it when it could be applied.
  StartPush(push, [this, pull = both.pull(), done = std::move(done)](absl::Status status, Buffer bytes) {
    if (!status.ok()) return done(status, {});
    auto held = std::make_unique<Held>();
    held->pull = pull;
    held->push_reply = std::make_shared<v1::PushReply>();
    if (absl::Status decoded = DecodeMessage(bytes, held->push_reply.get()); !decoded.ok()) return done(decoded, {});
    held->done = done;
    held->expired = true;  // the push is not made to wait for the gate
    Actions actions;
    {
      MutexLock lock(mu_);
      Hold(std::move(held), absl::ZeroDuration(), &actions);
    }
    Run(actions);
  });
}

GateAnswer Shard::AskGateFor(const v1::PullRequest& pull, const v1::Policy& policy) const {
  const WorkerId worker = pull.stamp().worker_id();
  if (aggregation() == v1::ROUND) {
    return AskRoundGate(open_round_, MissingInRound(), {worker, pull.clock(), pull.own_clock()});
  }
  const MemberInfo& member = members_.at(worker);
  const bool before = book_.Before(worker, member.proto.incarnation(), pull.clock());
  const std::uint64_t offset = before ? member.previous_offset : member.offset;
  const GateRequest request{worker, pull.clock() + offset, pull.own_clock() + offset};
  return AskGate(before ? ClocksBefore() : clocks_, policy.staleness_bound(), request);
}

std::uint64_t Shard::OwnClock(WorkerId worker) const {
  const auto it = members_.find(worker);
  const std::uint64_t clock = clocks_.Get(worker);
  return clock - (it == members_.end() ? 0 : std::min(clock, it->second.offset));
}

absl::Status Shard::CheckPullEncoding(const v1::PullRequest& pull) const {
  const v1::Encoding encoding = pull.encoding();
  const bool deltas = aggregation() == v1::EACH;
  if (encoding == v1::F32 || encoding == v1::BF16 || (encoding == v1::INT8 && deltas)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "pull in encoding ", static_cast<int>(encoding), " (", v1::Encoding_Name(encoding), "); shard ", options_.index,
      " answers in 0 (F32), 1 (BF16)", deltas ? ", 2 (INT8)" : "; not in 2 (INT8) with rounds"));
}

void Shard::NoteLost(const MemberInfo& member, std::uint64_t answered) {
  if (!lost_.empty()) return;
  lost_said_by_ = member.proto.name();
  lost_ =
      absl::StrCat("worker '", member.proto.name(), "' has had answers to ", answered, " pushes, and what is left of ",
                   "them here ends at ", member.window.clock(), ": the end of the journal is lost");
  spdlog::error("shard {}: {}", options_.index, lost_);
}

bool Shard::AttemptPull(Held& held, Actions* actions) {
  const v1::PullRequest& pull = held.pull;
  const absl::StatusOr<StampCheck> stamp = CheckStamp(pull.stamp());
  if (!stamp.ok()) {
    actions->push_back([done = std::move(held.done), status = stamp.status()] { done(status, {}); });
    return true;
  }
  std::vector<WorkerId> waits_for;
  std::string reason;
  if (*stamp == StampCheck::kAhead) {
    reason = absl::StrCat("shard ", options_.index, " has not heard of membership epoch ",
                          pull.stamp().membership_epoch(), " yet");
  } else if (!weights_ready_) {
    reason = absl::StrCat("shard ", options_.index, " waits for its initial weights: ", missing_blocks_.size(),
                          " blocks are missing");
  } else {
    absl::Status status = CheckRun(pull.run());
    if (status.ok()) status = CheckPullEncoding(pull);
    if (!status.ok()) {
      actions->push_back([done = std::move(held.done), status] { done(status, {}); });
      return true;
    }
    const MemberInfo& member = members_.at(pull.stamp().worker_id());
    const bool observer = member.proto.state() == v1::OBSERVER;
    if (member.recovered && !observer && aggregation() == v1::EACH && pull.answered() > member.window.clock()) {
      NoteLost(member, pull.answered());
    }
    // At the end no step is started, but evaluators read on.
    if (state_ >= v1::FINISHING && !observer) {
      PullNotYet(held, {}, "the run is ending", actions);
      return true;
    }
    if (!lost_.empty()) {
      reason = absl::StrCat("shard ", options_.index, " cannot go on: ", lost_);
    } else if (version_ < pull.min_version() && !(state_ >= v1::FINISHING)) {
      reason = absl::StrCat("shard ", options_.index, " is at version ", version_, ", asked for ", pull.min_version());
    } else if (pull.copy() && closing_) {
      reason = absl::StrCat("shard ", options_.index, " is applying round ", open_round_);
    } else if (observer) {
      ReplyToPull(held, actions);
      return true;
    } else if (const v1::Policy* policy = book_.Of(pull.stamp().worker_id(), pull.stamp().incarnation(), pull.clock());
               policy == nullptr) {
      reason = absl::StrCat("shard ", options_.index, ": the policy is about to change at clock ", pull.clock());
    } else {
      GateAnswer answer = AskGateFor(pull, *policy);
      if (answer.admitted) {
        ReplyToPull(held, actions);
        return true;
      }
      held.waited_for.insert(answer.waits_for.begin(), answer.waits_for.end());
      waits_for = std::move(answer.waits_for);
      reason = absl::StrCat("shard ", options_.index, ": the gate is shut for clock ", pull.clock());
    }
  }
  if (!held.expired) return false;
  PullNotYet(held, waits_for, reason, actions);
  return true;
}

void Shard::PullNotYet(Held& held, const std::vector<WorkerId>& on, const std::string& reason, Actions* actions) {
  v1::PullReply reply;
  reply.set_version(version_);
  reply.set_generation(options_.generation);
  reply.set_open_round(open_round_);
  reply.set_min_clock(clocks_.Min());
  reply.set_finishing(state_ >= v1::FINISHING);
  reply.set_gate_wait_micros(static_cast<std::uint64_t>(absl::ToInt64Microseconds(clock_->Now() - held.since)));
  reply.mutable_not_yet()->set_reason(reason);
  for (WorkerId worker : on) {
    v1::Waiting& waiting = *reply.mutable_not_yet()->add_on();
    waiting.set_worker_id(worker);
    waiting.set_clock(OwnClock(worker));
  }
  actions->push_back(
      [held = std::make_shared<Held>(std::move(held)), reply = std::move(reply)] { FinishPull(*held, reply, {}); });
}

void Shard::SetProgress(v1::PullReply* reply) const {
  reply->set_version(version_);
  reply->set_ticket_watermark(tickets_.value());
  reply->set_min_clock(clocks_.Min());
  reply->set_open_round(open_round_);
}

void Shard::ReplyToPull(Held& held, Actions* actions) {
  const v1::PullRequest& pull = held.pull;
  const ChunkRun run{pull.run().first_block(), pull.run().num_blocks()};
  DeltaBook::Opened opened;
  if (pull.encoding() == v1::INT8 && run.num_blocks > 0) {
    const std::uint64_t limit = options_.max_held_bytes / 2;
    opened = deltas_.Open(pull.stamp().incarnation(), run, *placement_, limit - std::min(limit, given_.bytes()));
  }
  const std::shared_ptr<GivenWeights> given = KeepGiven(pull);
  const bool copied = pull.copy() || pull.encoding() == v1::BF16 || opened.copy != nullptr || given != nullptr;
  ByteBudget::Charge charge;
  if (copied && run.num_blocks > 0) {
    const std::uint64_t size = pull.encoding() == v1::BF16 ? 2 : sizeof(float);
    absl::StatusOr<ByteBudget::Charge> room =
        Charge(pull.stamp().worker_id(), placement_->RunElements(run) * size, false);
    if (!room.ok() && held.push_reply != nullptr) {  // the push's reply does not wait
      return PullNotYet(held, {}, std::string(room.status().message()), actions);
    }
    if (!room.ok()) {
      actions->push_back([done = std::move(held.done), status = room.status()] { done(status, {}); });
      return;
    }
    charge = *std::move(room);
  }
  v1::PullReply reply;
  SetProgress(&reply);
  reply.set_generation(options_.generation);
  *reply.mutable_run() = pull.run();
  reply.set_encoding(pull.encoding() == v1::BF16 ? v1::BF16 : v1::F32);
  if (!held.waited_for.empty()) {
    reply.set_gate_wait_micros(static_cast<std::uint64_t>(absl::ToInt64Microseconds(clock_->Now() - held.since)));
    stats_.set_pulls_blocked(stats_.pulls_blocked() + 1);
  }
  for (WorkerId worker : held.waited_for) {
    v1::Waiting& waiting = *reply.add_waited_for();
    waiting.set_worker_id(worker);
    waiting.set_clock(OwnClock(worker));
  }
  if (MemberInfo& member = members_.at(pull.stamp().worker_id()); member.proto.state() != v1::OBSERVER) {
    // (A step farther ahead than any worker can be is none.)
    member.pulled = std::max(member.pulled, std::min(pull.clock(), member.window.clock() + PushWindow::kAhead) + 1);
    if (pull.clock() > 0) {
      const std::uint64_t last = pull.clock() - 1;
      const PushWindow::Seen seen = member.window.Look(last, 0);
      if (seen.state == PushWindow::Seen::kDone) reply.set_last_push(seen.verdict);
    }
    const v1::Policy& policy = book_.OfAdmitted(member.proto.worker_id(), member.proto.incarnation(), pull.clock());
    if (policy.number() != pull.stamp().policy_number()) *reply.mutable_policy() = policy;
  }
  // Once per step and shard, not per chunk.
  if (pull.run().first_block() == options_.index && !pull.copy()) gap_.Add(clocks_.Gap());
  reply.set_sequence(opened.sequence);
  auto kept = std::make_shared<Held>(std::move(held));
  if (charge == nullptr) {
    Buffer payload = store_->ReadLive(run);
    stats_.set_pull_bytes(stats_.pull_bytes() + payload.size());
    actions->push_back(
        [kept, reply = std::move(reply), payload = std::move(payload)] { FinishPull(*kept, reply, payload); });
    return;
  }
  // Between the copy's version and its bytes no round may be applied: StartClose waits for it.
  ++copies_under_way_;
  actions->push_back([this, job = CopyJob{kept, std::move(reply), store_, opened.copy, given, std::move(charge)}] {
    executor_->Post([this, job] { SendCopy(job); });
  });
}

Buffer Shard::ReadWeights(CopyJob* job, Buffer* values) {
  const ChunkRun run{job->reply.run().first_block(), job->reply.run().num_blocks()};
  if (job->copy == nullptr) {
    Buffer payload = job->store->ReadCopy(run, job->reply.encoding());
    if (values != nullptr) *values = payload;
    return payload;
  }
  WorkerCopy::Answer answer = job->copy->Update(
      job->held->pull.base(), job->reply.sequence(),
      [&](std::uint32_t i, float* out) { job->store->ReadBlock(run, i, out); }, values);
  job->reply.set_delta(answer.delta);
  job->reply.set_encoding(answer.delta ? v1::INT8 : v1::F32);
  return std::move(answer.payload);
}

void Shard::SendCopy(CopyJob job) {
  {
    MutexLock lock(mu_);
    SetProgress(&job.reply);  // pushes may have been applied since it was admitted
  }
  Buffer payload = job.given == nullptr ? ReadWeights(&job, nullptr) : Give(&job);
  payload.Keep(std::move(job.charge));
  Actions actions;
  {
    MutexLock lock(mu_);
    --copies_under_way_;
    stats_.set_pull_bytes(stats_.pull_bytes() + payload.size());
    StartClose(&actions);
  }
  FinishPull(*job.held, std::move(job.reply), std::move(payload));
  Run(actions);
}

void Shard::FinishPull(const Held& held, v1::PullReply reply, Buffer payload) {
  if (held.push_reply == nullptr) return held.done(absl::OkStatus(), EncodeMessage(reply, payload));
  v1::PushPullReply both;
  *both.mutable_push() = *held.push_reply;
  *both.mutable_pull() = std::move(reply);
  held.done(absl::OkStatus(), EncodeMessage(both, payload));
}

}  // namespace leeway
