#include "worker/trainer/training_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/log.h"
#include "worker/client/describe_wait.h"
#include "worker/client/put_weights.h"

namespace leeway {
namespace {

constexpr absl::Duration kTick = absl::Seconds(1);  // between reports of progress
constexpr absl::Duration kSayWaiting = absl::Seconds(10);
constexpr std::size_t kMaxCommits = 16;  // unanswered; they are small, but not free
// Steps past the oldest unanswered commit: of the steps before the newest 64 commits the coordinator knows no more
// whether it has had them.
constexpr std::uint64_t kMaxPastCommit = 32;

bool NeedsTicket(const v1::Policy& policy) { return policy.max_delay() >= 0 || policy.delay_policy() != v1::APPLY; }

bool IsWhole(const v1::Policy& policy) { return policy.push_atomicity() == v1::WHOLE || policy.clip_norm() > 0; }

Pacer::Options Seeded(Pacer::Options pace, const v1::JoinReply& join) {
  pace.seed = HashCombine(join.policy().seed(), join.rank());
  return pace;
}

}  // namespace

TrainingSession::TrainingSession(Worker& worker, const v1::JoinReply& join, std::uint64_t incarnation,
                                 const Placement& placement, WorkSource source)
    : worker_(worker),
      placement_(placement),
      mailbox_(std::make_shared<Mailbox>()),
      wakes_mailbox_(worker.cancellation.AddListener([mailbox = mailbox_] { mailbox->Wake(); })),
      view_(std::make_shared<ClusterView>(join, incarnation, [mailbox = mailbox_] { mailbox->Wake(); })),
      settled_(std::make_shared<std::atomic<std::uint64_t>>(join.entry_clock())),
      coordinator_(
          std::make_shared<CoordinatorClient>(worker.caller, view_, [settled = settled_] { return settled->load(); })),
      tracker_(std::make_shared<ChunkTracker>(placement)),
      lease_(absl::Milliseconds(join.lease_millis())),
      rank_(join.rank()),
      put_weights_(join.put_weights()),
      pipeline_(worker.depth, join.entry_clock()),
      source_(std::move(source)),
      pacer_(Seeded(worker.pace, join)),
      ledger_(worker.device, worker.metrics),
      last_report_(worker.caller.Now()),
      say_waiting_(kSayWaiting),
      say_refused_(kSayWaiting) {}

TrainingSession::~TrainingSession() {
  coordinator_->Stop();
  for (const auto& [clock, push] : pushes_) {
    if (push.watch != nullptr) push.watch->Stop();
  }
}

bool TrainingSession::HasEnough() const { return worker_.max_steps > 0 && *worker_.steps_done >= worker_.max_steps; }

bool TrainingSession::Ending() const {
  return HasEnough() || worker_.cancellation.cancelled() || view_->drain() || view_->state() >= v1::FINISHING;
}

void TrainingSession::Fail(const absl::Status& status) {
  // Expiry is no failure of the worker: the view knows it, and a new incarnation goes on.
  if (failure_.ok() && !absl::IsFailedPrecondition(status)) failure_ = status;
}

absl::StatusOr<TrainingSession::End> TrainingSession::Run() {
  coordinator_->StartHeartbeat(lease_);
  if (put_weights_) Fail(UploadInitialWeights());
  Train();
  if (view_->drain()) {
    spdlog::info("leeway drain: this worker leaves");
    worker_.cancellation.Cancel();  // the process is to end
  }
  Drain();
  if (!failure_.ok()) return failure_;
  if (const absl::Status expired = view_->expired(); !expired.ok()) {
    if (!absl::IsFailedPrecondition(expired)) return expired;
    spdlog::warn("this incarnation is no member any more: {}", expired);
    return worker_.cancellation.cancelled() ? End::kPreempted : End::kExpired;
  }
  const bool preempted = worker_.cancellation.cancelled();
  const bool finished = source_.finished(pipeline_.clock());
  Report(true);
  const std::string reason = view_->drain() ? "drained"
                             : preempted    ? "preempted"
                             : finished     ? "trained on all its data"
                             : HasEnough()  ? absl::StrCat("--max_steps=", worker_.max_steps, " is reached")
                                            : "the run ends";
  const absl::Status left = Leave(reason, finished);
  if (preempted) return End::kPreempted;
  if (!left.ok()) return left;
  return End::kFinished;
}

absl::Status TrainingSession::UploadInitialWeights() {
  if (worker_.init_weights == nullptr) {
    return absl::InvalidArgumentError("the cluster waits for initial weights, but this worker has no --init_from");
  }
  auto result = std::make_shared<std::optional<absl::Status>>();
  PutWeights(
      worker_.caller, view_, placement_, worker_.init_weights, worker_.init_weights->data(),
      [mailbox = mailbox_, result](absl::Status status) { mailbox->Post([result, status] { *result = status; }); });
  mailbox_->RunUntil([&] { return result->has_value() || Broken() || worker_.cancellation.cancelled(); });
  return result->value_or(absl::OkStatus());
}

void TrainingSession::WaitFor(v1::WaitKind kind, Instant from, const std::function<bool()>& done,
                              absl::Duration limit) {
  const Instant start = worker_.caller.Now();
  while (!mailbox_->RunUntil([&] { return done() || Broken() || Ending(); }, std::min(kTick, limit))) {
    Report(false);
    const Instant now = worker_.caller.Now();
    if (now - start >= limit) break;
    if (now - from < kWorthTelling) continue;
    const std::vector<v1::WaitUnderWay> waits = WaitsUnderWay(kind, from);
    TellWaits(waits);
    if (now - from >= kSayWaiting && say_waiting_.Due(now)) {
      spdlog::info("step {} has waited {} for {}", pipeline_.clock(), absl::Trunc(now - from, absl::Seconds(1)),
                   InWords(waits));
    }
  }
  TellWaits({});
}

// --- Steps -----------------------------------------------------------------------------------------------

void TrainingSession::Train() {
  while (!Broken() && !Ending() && !source_.finished(pipeline_.clock())) {
    if (WaitForBuffers() && GetWork() && pipeline_.CanCompute()) DoStep();
    Report(false);
  }
}

void TrainingSession::SendPulls() {
  for (const std::uint64_t id : pipeline_.TakeDropped()) {
    const auto it = pulls_.find(id);
    if (it == pulls_.end()) continue;
    it->second.pull->Abandon();
    pulls_.erase(it);
  }
  while (const auto order = pipeline_.NextPull()) {
    Pull::Request request;
    request.clock = order->clock;
    request.own_clock = order->own_clock;
    request.answered = *settled_;
    request.attempt = order->id + 1;
    request.encoding = worker_.pull_encoding;
    request.seen = worker_.seen;
    request.halves = worker_.engine.half_weights(order->weights_slot);
    // They go to the device at once, while the training thread is in a step. (A pull that was dropped when it had ended
    // may send them in vain; whoever has the slot next sends its own after them.)
    auto pull = std::make_shared<Pull>(
        worker_.caller, view_, placement_, request, worker_.engine.weights(order->weights_slot),
        [this, mailbox = mailbox_, id = order->id, &engine = worker_.engine,
         slot = order->weights_slot](PullResult result) {
          if (result.status.ok()) engine.WeightsArrived(slot);
          mailbox->Post([this, id, result = std::move(result)]() mutable { OnPull(id, std::move(result)); });
        });
    pulls_[order->id].pull = pull;
    pull->Start();
  }
}

void TrainingSession::OnPull(std::uint64_t id, PullResult result) {
  const auto it = pulls_.find(id);
  if (it == pulls_.end()) return;
  if (!result.status.ok()) return Fail(result.status);
  SettleHeld(result.last_push);
  it->second.result = std::move(result);
  pipeline_.PullArrived(id);
}

bool TrainingSession::TooManyCommits() const {
  return commits_.size() >= kMaxCommits ||
         (!commits_.empty() && *commits_.begin() + kMaxPastCommit <= pipeline_.clock());
}

bool TrainingSession::WaitForBuffers() {
  const auto stop = [this] { return Broken() || Ending() || source_.finished(pipeline_.clock()); };
  std::optional<Instant> pull_wait;
  while (!stop() && (!pipeline_.CanCompute() || TooManyCommits())) {
    SendPulls();
    const Instant from = worker_.caller.Now();
    const std::size_t pushes = pushes_.size();
    const bool push_first = !pipeline_.GradientFree() || TooManyCommits();
    if (push_first) {
      WaitFor(v1::WAIT_PUSH, from, [&] { return pushes_.size() < pushes || (pushes == 0 && !TooManyCommits()); });
      WaitedForPush(from, worker_.caller.Now());
    } else {
      if (!pull_wait) pull_wait = from;
      WaitFor(v1::WAIT_PULL, *pull_wait,
              [&] { return pipeline_.CanCompute() || pushes_.size() < pushes || source_.finished(pipeline_.clock()); });
    }
  }
  if (stop() || !pipeline_.CanCompute()) return false;
  const Instant now = worker_.caller.Now();
  WaitedForPull(pull_wait.value_or(now), now, pulls_.at(pipeline_.next_pull_id()).result);
  return true;
}

void TrainingSession::DoStep() {
  Work work = *std::exchange(work_, std::nullopt);
  const StepPipeline::Compute step = pipeline_.BeginCompute();
  const PullResult read = std::move(pulls_.at(step.pull_id).result);
  const v1::Policy& policy = read.policy;
  pulls_.erase(step.pull_id);
  SendPulls();
  source_.StepBegins(worker_.caller.Now());
  if (!parked_ && source_.wanted() > 0 && (source_.missing() > 0 || !none_ahead_)) AskForData();

  InFlightPush& in_flight = pushes_[step.clock];
  in_flight.work = std::move(work);
  const std::vector<std::uint64_t>& records = in_flight.work.batch.records;
  const bool ticket = NeedsTicket(policy) && !records.empty();
  const bool hold = IsWhole(policy) || pacer_.active() || records.empty();
  const std::shared_ptr<Push> push = in_flight.push = NewPush(step, read, (ticket ? 1 : 0) + (hold ? 1 : 0));
  const std::function<void()> open = ticket ? TicketOpener(step, read.ticket_watermark, push) : [] {};
  bool failed = false;
  if (records.empty()) {
    push->NoMoreChunks();
    push->MakeNull(v1::APPLIED);
  } else {
    in_flight.watch = WatchRound(policy, step.clock, push);
    worker_.engine.PostToSender([tracker = tracker_] { tracker->Reset(); });
    Engine::StepRequest request;
    request.weights_slot = step.weights_slot;
    request.gradient_slot = step.gradient_slot;
    request.records = records;
    request.data = &worker_.data;
    request.whole = IsWhole(policy);
    request.clip_norm = policy.clip_norm();
    const auto ready = [push, open, hold](ChunkId chunk) {
      if (!hold) open();
      push->Ready(chunk);
    };
    request.on_final = [tracker = tracker_, ready](std::uint64_t first, std::uint64_t count) {
      for (const ChunkId chunk : tracker->MarkFinal(first, count)) ready(chunk);
    };
    request.encoder = worker_.device_encoder.get();
    request.on_encoded = ready;
    request.on_failed = [this, push, mailbox = mailbox_](const absl::Status& status) {
      push->NoMoreChunks();
      push->Abandon();
      mailbox->Post([this, status] { Fail(status); });
    };
    // (It asks for a ticket like any other: without one the shards would take it for refused by its delay.)
    request.on_refused = [push](const std::string& why) {
      push->NoMoreChunks();
      push->MakeNull(v1::REFUSED, why);
    };
    const bool watched = in_flight.watch != nullptr;
    if (watched) request.given_up = [push] { return push->given_up(); };
    const std::uint64_t samples = records.size(), epoch = in_flight.work.batch.epoch;
    const Instant start = worker_.caller.Now();
    const absl::StatusOr<Engine::StepOutcome> outcome = worker_.engine.Step(request);
    const absl::Duration lasted = worker_.caller.Now() - start;
    if (outcome.ok()) {
      if (!outcome->given_up) Pace(step.clock, lasted, *push);  // (a push that fails meanwhile takes in_flight along)
      if (push->given_up()) {
        ledger_.GaveUp(lasted - outcome->data_time, outcome->data_time);
      } else {
        ledger_.Computed(lasted - outcome->data_time, outcome->data_time, samples, outcome->loss_sum, outcome->correct,
                         epoch);
        ++*worker_.steps_done;
      }
      // Behind every chunk that the engine has made ready: one that is given up, now or later, may end from then on.
      if (watched) worker_.engine.PostToSender([push] { push->NoMoreChunks(); });
    } else {
      failed = true;
      Fail(outcome.status());
      push->NoMoreChunks();
      push->Abandon();
    }
  }
  if (hold) {
    if (!failed) open();
    push->Release();
  }
  pipeline_.EndCompute();
}

void TrainingSession::Pace(std::uint64_t clock, absl::Duration computed, const Push& push) {
  const absl::Duration rest = pacer_.Rest(clock, computed);
  if (rest <= absl::ZeroDuration()) return;
  const Instant from = worker_.caller.Now();
  Report(false);
  mailbox_->RunUntil([&] { return Broken() || Ending() || push.given_up(); }, rest);
  ledger_.Paced(worker_.caller.Now() - from);
}

}  // namespace leeway
