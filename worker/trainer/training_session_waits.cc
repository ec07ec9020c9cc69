// TrainingSession: for whom the training thread waits, and has waited.
#include <algorithm>
#include <utility>

#include "worker/client/describe_wait.h"
#include "worker/trainer/training_session.h"

namespace leeway {

v1::WaitKind TrainingSession::KindOfWait(std::uint32_t shard, Instant from, v1::WaitKind kind) const {
  const Caller::Trouble trouble = worker_.caller.LastTrouble(static_cast<Target>(shard));
  if (trouble.status.ok() || trouble.at < from) return kind;
  return absl::IsResourceExhausted(trouble.status) ? v1::WAIT_NO_ROOM : v1::WAIT_UNREACHABLE;
}

std::vector<v1::WaitUnderWay> TrainingSession::WaitsUnderWay(v1::WaitKind kind, Instant from) const {
  std::uint64_t clock = pipeline_.clock();
  std::vector<MissingAnswer> missing;
  // Of the next step, whose pull is the oldest one.
  if (kind == v1::WAIT_PULL && !pulls_.empty()) missing = pulls_.begin()->second.pull->MissingAnswers();
  if (kind == v1::WAIT_PUSH && (pushes_.empty() || TooManyCommits())) {
    kind = v1::WAIT_COMMIT;
  } else if (kind == v1::WAIT_PUSH) {
    const Push& oldest = *pushes_.begin()->second.push;
    clock = pushes_.begin()->first;
    missing = oldest.MissingAnswers();
    if (oldest.held_back()) kind = v1::WAIT_TICKET;
  }
  return DescribeWait(worker_.caller, kind, from, clock, missing);
}

void TrainingSession::TellWaits(std::vector<v1::WaitUnderWay> waits) {
  if (waits.empty() && !told_waits_) return;
  told_waits_ = !waits.empty();
  if (worker_.metrics != nullptr) worker_.metrics->SetWaits(waits);
  coordinator_->SetWaits(std::move(waits));
}

void TrainingSession::WaitedForPull(Instant from, Instant to, const PullResult& pull) {
  ledger_.WaitedForPull(from, to, pull);
  const Instant open = Ledger::GateOpened(from, to, pull);
  v1::Wait gate;
  gate.set_kind(v1::WAIT_GATE);
  gate.set_shard(pull.gate_shard);
  gate.set_clock(pipeline_.clock());
  for (const std::uint32_t worker : pull.waited_for) gate.add_workers(worker);
  waits_.Add(from, open, std::move(gate));
  v1::Wait transfer;
  transfer.set_kind(KindOfWait(pull.last_shard, open, v1::WAIT_PULL));
  transfer.set_shard(pull.last_shard);
  transfer.set_clock(pipeline_.clock());
  waits_.Add(open, to, std::move(transfer));
}

void TrainingSession::WaitedForPush(Instant from, Instant to) {
  ledger_.WaitedForPush(from, to);
  v1::Wait wait;
  wait.set_clock(pipeline_.clock());
  if (ended_push_.at < from) {
    // None has ended meanwhile: commits were to be answered first, or this is the end.
    wait.set_kind(!commits_.empty() ? v1::WAIT_COMMIT : v1::WAIT_PUSH);
    return waits_.Add(from, to, std::move(wait));
  }
  wait.set_clock(ended_push_.clock);
  if (ended_push_.shard) wait.set_shard(*ended_push_.shard);
  const Instant applied = std::max(from, to - ended_push_.journal);
  v1::Wait journal = wait;
  journal.set_kind(v1::WAIT_JOURNAL);
  wait.set_kind(ended_push_.shard ? KindOfWait(*ended_push_.shard, from, v1::WAIT_PUSH) : v1::WAIT_PUSH);
  waits_.Add(from, applied, std::move(wait));
  waits_.Add(applied, to, std::move(journal));
}

void TrainingSession::WaitedForData(Instant from, Instant to) {
  ledger_.WaitedForData(to - from);
  v1::Wait wait;
  wait.set_kind(v1::WAIT_DATA);
  wait.set_shard(0);
  wait.set_clock(pipeline_.clock());
  waits_.Add(from, to, std::move(wait));
}

}  // namespace leeway
