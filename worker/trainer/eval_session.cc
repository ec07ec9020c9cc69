#include "worker/trainer/eval_session.h"

#include <algorithm>
#include <utility>

#include "common/crc32c.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "worker/client/describe_wait.h"
#include "worker/client/pull.h"
#include "worker/trainer/best_weights.h"
#include "worker/trainer/leave_cluster.h"
#include "worker/trainer/weights_file.h"

namespace leeway {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(100);  // how often the schedule is asked
// Heartbeats, three in this time, bring the count of samples and the end: evaluations follow both closely.
constexpr absl::Duration kNews = absl::Milliseconds(1500);
constexpr absl::Duration kLastWords = absl::Seconds(5);
constexpr absl::Duration kTick = absl::Seconds(1);
// A copy of one round is asked for two rounds ahead, so that all chunks' requests are there when it closes.
constexpr std::uint64_t kRoundsAhead = 2;

// A full disk is lost as a server is lost, not memory that this worker needs more of than there is (exit_code_of.h).
absl::Status WorthAnotherStart(const absl::Status& saved) {
  return absl::IsResourceExhausted(saved) ? absl::UnavailableError(saved.message()) : saved;
}

}  // namespace

EvalSession::EvalSession(Worker& worker, const v1::JoinReply& join, std::uint64_t incarnation,
                         const Placement& placement)
    : worker_(worker),
      run_id_(join.run_id()),
      placement_(placement),
      rounds_(join.policy().aggregation() == v1::ROUND),
      mailbox_(std::make_shared<Mailbox>()),
      wakes_mailbox_(worker.cancellation.AddListener([mailbox = mailbox_] { mailbox->Wake(); })),
      view_(std::make_shared<ClusterView>(join, incarnation, [mailbox = mailbox_] { mailbox->Wake(); })),
      coordinator_(std::make_shared<CoordinatorClient>(worker.caller, view_, [] { return std::uint64_t{0}; })),
      lease_(absl::Milliseconds(join.lease_millis())),
      start_(worker.caller.Now()),
      schedule_({worker.options.every_epochs, worker.options.every_seconds, join.num_records()}, start_) {}

EvalSession::~EvalSession() { coordinator_->Stop(); }

bool EvalSession::Interrupted() const {
  return worker_.cancellation.cancelled() || view_->drain() || !view_->expired().ok();
}

absl::StatusOr<bool> EvalSession::Run() {
  if (!worker_.best) {
    worker_.best = SavedBest(worker_.files, worker_.options.best_weights, run_id_);
    if (worker_.best) {
      spdlog::info("{} holds the best weights of this run so far: loss {:.4f}, accuracy {:.2f} %",
                   worker_.options.best_weights, worker_.best->loss(), 100 * worker_.best->accuracy());
    }
  }
  coordinator_->StartHeartbeat(std::min(lease_, kNews));
  bool final = false;
  while (!Interrupted() && !final) {
    const auto due = [&] {
      // Not between FINISHING and EVALUATING: the last pushes are still on their way.
      return view_->state() >= v1::EVALUATING ||
             (view_->state() == v1::TRAINING && schedule_.Due(worker_.caller.Now(), view_->samples()));
    };
    if (!mailbox_->RunUntil([&] { return Interrupted() || due(); }, kLook)) continue;
    if (Interrupted()) break;
    const bool last = view_->state() >= v1::EVALUATING;
    ASSIGN_OR_RETURN(const bool evaluated, EvaluateOnce(last));
    final = last && evaluated;
  }
  if (view_->drain()) worker_.cancellation.Cancel();  // the process is to end
  if (const absl::Status expired = view_->expired(); !expired.ok()) {
    if (!absl::IsFailedPrecondition(expired)) return expired;
    return worker_.cancellation.cancelled();
  }
  v1::LeaveRequest leave;
  leave.set_reason(final ? "evaluated the final weights" : view_->drain() ? "drained" : "preempted");
  const absl::Status left = LeaveCluster(*coordinator_, mailbox_, std::move(leave), lease_, worker_.cancellation);
  if (final) RETURN_IF_ERROR(left);
  return true;
}

absl::Status EvalSession::Await(const std::function<void(std::function<void(absl::Status)>)>& call) {
  auto result = std::make_shared<std::optional<absl::Status>>();
  call([result, mailbox = mailbox_](absl::Status status) { mailbox->Post([result, status] { *result = status; }); });
  const auto over = [&] { return result->has_value() || !view_->expired().ok(); };
  mailbox_->RunUntil([&] { return over() || Interrupted(); });
  if (!over()) mailbox_->RunUntil(over, kLastWords);
  return result->value_or(absl::DeadlineExceededError("no answer"));
}

absl::StatusOr<std::optional<std::uint64_t>> EvalSession::PullWeights(bool final) {
  std::uint64_t min_version = rounds_ && !final ? last_version_ + kRoundsAhead : 0;
  for (;;) {
    auto result = std::make_shared<std::optional<PullResult>>();
    Pull::Request request;
    request.copy = true;
    request.min_version = min_version;
    auto pull = std::make_shared<Pull>(worker_.caller, view_, placement_, request, worker_.engine.weights(0),
                                       [result, mailbox = mailbox_](PullResult answer) {
                                         mailbox->Post([result, answer = std::move(answer)] { *result = answer; });
                                       });
    pull->Start();
    // A round that nobody will close any more is not waited for.
    const auto over = [&] { return !final && view_->state() >= v1::FINISHING && min_version > 0; };
    const auto ended = [&] { return result->has_value() || Interrupted() || over(); };
    const Instant from = worker_.caller.Now();
    while (!mailbox_->RunUntil(ended, kTick)) {
      if (worker_.caller.Now() - from < kWorthTelling) continue;
      TellWaits(DescribeWait(worker_.caller, v1::WAIT_PULL, from, std::nullopt, pull->MissingAnswers()));
    }
    TellWaits({});
    pull->Abandon();
    if (!result->has_value()) return std::optional<std::uint64_t>();
    const PullResult& answer = **result;
    // Expired, or to end: then what the shards still say, or that they were not asked on, is no failure.
    if (absl::IsFailedPrecondition(answer.status) || (!answer.status.ok() && Interrupted())) {
      return std::optional<std::uint64_t>();
    }
    RETURN_IF_ERROR(answer.status);
    last_version_ = answer.max_version;
    if (!rounds_ || answer.min_version == answer.max_version) return std::optional(answer.min_version);
    min_version = final ? answer.max_version : answer.max_version + kRoundsAhead;
  }
}

void EvalSession::TellWaits(std::vector<v1::WaitUnderWay> waits) {
  if (worker_.options.metrics != nullptr) {
    worker_.options.metrics->SetWaits(waits);
    worker_.options.metrics->SetProgress(worker_.caller.retries(), /*clock=*/0);
  }
  coordinator_->SetWaits(std::move(waits));
}

absl::StatusOr<bool> EvalSession::EvaluateOnce(bool final) {
  v1::Evaluation evaluation;
  evaluation.set_samples(view_->samples());
  ASSIGN_OR_RETURN(const std::optional<std::uint64_t> version, PullWeights(final));
  if (!version) return false;
  evaluation.set_seconds(absl::ToDoubleSeconds(worker_.caller.Now() - start_));
  ASSIGN_OR_RETURN(const Engine::StepOutcome outcome,
                   worker_.engine.Evaluate(0, worker_.test, 0, worker_.test.num_records()));
  const auto records = static_cast<double>(worker_.test.num_records());
  evaluation.set_version(*version);
  evaluation.set_loss(outcome.loss_sum / records);
  evaluation.set_accuracy(outcome.correct / records);
  evaluation.set_final(final);
  evaluation.set_weights_crc32c(
      Crc32c(worker_.engine.weights(0), static_cast<std::size_t>(placement_.elements()) * sizeof(float)));
  spdlog::info("evaluation at {} samples (version {}): loss {:.4f}, accuracy {:.2f} %{}", evaluation.samples(),
               *version, evaluation.loss(), 100 * evaluation.accuracy(), final ? ", final weights" : "");
  if (worker_.options.metrics != nullptr) worker_.options.metrics->Evaluated(evaluation);
  if (worker_.best ? Better(evaluation, *worker_.best) : HasFigures(evaluation)) {
    worker_.best = evaluation;
    RETURN_IF_ERROR(SaveBest());
  }
  if (final) RETURN_IF_ERROR(SaveFinal());
  v1::ReportProgressRequest report;
  *report.mutable_evaluation() = evaluation;
  const absl::Status reported =
      Await([&](auto done) { coordinator_->ReportProgress(std::move(report), std::move(done)); });
  if (!absl::IsFailedPrecondition(reported) && !Interrupted()) RETURN_IF_ERROR(reported);
  return true;
}

absl::Status EvalSession::SaveBest() {
  const std::string& path = worker_.options.best_weights;
  if (path.empty()) return absl::OkStatus();
  return WorthAnotherStart(
      SaveBestWeights(worker_.files, path, worker_.manifest, worker_.engine.weights(0), run_id_, *worker_.best));
}

absl::Status EvalSession::SaveFinal() {
  const std::string& path = worker_.options.final_weights;
  if (path.empty()) return absl::OkStatus();
  return WorthAnotherStart(SaveWeights(worker_.files, path, worker_.manifest, worker_.engine.weights(0)));
}

}  // namespace leeway
