#include "server/coordinator/status_board.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"

namespace leeway {
namespace {

void AddWaits(const v1::Progress& b, v1::Progress* a) {
  if (a->waits().empty()) {  // a first incarnation, as most are
    *a->mutable_waits() = b.waits();
    return;
  }
  const auto key = [](const v1::WaitTotal& wait) {
    return std::make_tuple(wait.kind(), wait.has_shard(), wait.shard(), wait.has_worker(), wait.worker());
  };
  using Key = std::tuple<v1::WaitKind, bool, std::uint32_t, bool, std::uint32_t>;
  std::map<Key, std::pair<double, std::uint64_t>> sums;
  for (const v1::Progress* progress : {static_cast<const v1::Progress*>(a), &b}) {
    for (const v1::WaitTotal& wait : progress->waits()) {
      sums[key(wait)].first += wait.seconds();
      sums[key(wait)].second += wait.count();
    }
  }
  a->clear_waits();
  for (const auto& [of, sum] : sums) {
    const auto& [kind, has_shard, shard, has_worker, worker] = of;
    v1::WaitTotal& wait = *a->add_waits();
    wait.set_kind(kind);
    if (has_shard) wait.set_shard(shard);
    if (has_worker) wait.set_worker(worker);
    wait.set_seconds(sum.first);
    wait.set_count(sum.second);
  }
}

// a += b, field by field.
void AddTotals(const v1::Progress& b, v1::Progress* a) {
  a->set_steps(a->steps() + b.steps());
  a->set_steps_given_up(a->steps_given_up() + b.steps_given_up());
  a->set_samples(a->samples() + b.samples());
  a->set_loss_sum(a->loss_sum() + b.loss_sum());
  a->set_nonfinite_samples(a->nonfinite_samples() + b.nonfinite_samples());
  a->set_correct(a->correct() + b.correct());
  a->set_epoch(b.epoch());
  v1::PhaseSeconds* seconds = a->mutable_seconds();
  seconds->set_data(seconds->data() + b.seconds().data());
  seconds->set_pull(seconds->pull() + b.seconds().pull());
  seconds->set_compute(seconds->compute() + b.seconds().compute());
  seconds->set_push(seconds->push() + b.seconds().push());
  seconds->set_blocked(seconds->blocked() + b.seconds().blocked());
  seconds->set_paced(seconds->paced() + b.seconds().paced());
  std::map<std::uint32_t, double> blocked;
  for (const v1::BlockedOn& on : a->blocked_on()) blocked[on.worker_id()] += on.seconds();
  for (const v1::BlockedOn& on : b.blocked_on()) blocked[on.worker_id()] += on.seconds();
  a->clear_blocked_on();
  for (const auto& [worker, time] : blocked) {
    v1::BlockedOn& on = *a->add_blocked_on();
    on.set_worker_id(worker);
    on.set_seconds(time);
  }
  AddWaits(b, a);
  a->set_pushes_applied(a->pushes_applied() + b.pushes_applied());
  a->set_pushes_refused(a->pushes_refused() + b.pushes_refused());
  a->set_pushes_dropped(a->pushes_dropped() + b.pushes_dropped());
  a->set_pushes_partial(a->pushes_partial() + b.pushes_partial());
  a->set_device(b.device());
  a->set_retries(a->retries() + b.retries());
  a->set_exposed_seconds(a->exposed_seconds() + b.exposed_seconds());
  a->set_hidden_seconds(a->hidden_seconds() + b.hidden_seconds());
}

std::size_t CountWaits(const v1::Progress& progress) {
  return static_cast<std::size_t>(progress.waits_size()) + static_cast<std::size_t>(progress.blocked_on_size());
}

// Whom a worker has waited for longest between two of its reports, as worker id + 1; 0: for nobody.
std::uint32_t WaitedForLongest(const v1::Progress& before, const v1::Progress& after) {
  std::map<std::uint32_t, double> seconds;
  for (const v1::BlockedOn& on : after.blocked_on()) seconds[on.worker_id()] += on.seconds();
  for (const v1::BlockedOn& on : before.blocked_on()) seconds[on.worker_id()] -= on.seconds();
  std::uint32_t longest = 0;
  double most = 0;
  for (const auto& [worker, time] : seconds) {
    if (time <= most) continue;
    most = time;
    longest = worker + 1;
  }
  return longest;
}

}  // namespace

void StatusBoard::AddEvent(Instant now, const std::string& text) {
  events_.push_back(absl::StrFormat("%.1f %s", Seconds(now), text));
  if (events_.size() > kMostEvents) events_.pop_front();
}

void StatusBoard::AddEvaluation(Instant now, v1::Evaluation evaluation) {
  evaluation.set_seconds(Seconds(now));
  if (evaluations_.size() < kMostEvaluations) {
    evaluations_.push_back(std::move(evaluation));
  } else {
    evaluations_.back() = std::move(evaluation);  // the newest matters most
  }
}

void StatusBoard::SetState(std::uint32_t worker, const std::string& name, v1::Role role, std::uint32_t rank,
                           const std::string& state, const std::string& reason) {
  Row& row = rows_[worker];
  v1::WorkerStatus& status = row.status;
  if (!status.name().empty() && status.name() != name) row = Row();
  status.set_worker_id(worker);
  status.set_name(name);
  status.set_role(role);
  status.set_rank(rank);
  status.set_state(state);
  status.set_reason(reason);
}

void StatusBoard::SetClock(std::uint32_t worker, std::uint64_t clock) {
  const auto it = rows_.find(worker);
  if (it != rows_.end()) it->second.status.set_clock(std::max(clock, it->second.status.clock()));
}

void StatusBoard::EnterAt(std::uint32_t worker, std::uint64_t clock) { rows_[worker].status.set_clock(clock); }

void StatusBoard::AddProgress(Instant now, const v1::Member& member, const v1::Progress& progress,
                              std::uint64_t samples) {
  Row& row = rows_[member.worker_id()];
  row.status.set_worker_id(member.worker_id());
  if (row.incarnation != member.incarnation()) {
    row.earlier = row.status.progress();
    row.incarnation = member.incarnation();
  }
  v1::Progress total = row.earlier;
  AddTotals(progress, &total);
  const v1::Progress& before = row.status.progress();
  if (total.samples() < before.samples()) return;  // a report that was overtaken
  const std::uint64_t new_samples = total.samples() - before.samples();
  const std::uint64_t nonfinite =
      total.nonfinite_samples() - std::min(total.nonfinite_samples(), before.nonfinite_samples());
  const std::uint64_t finite = new_samples - std::min(new_samples, nonfinite);
  pending_.set_loss(pending_.loss() + (total.loss_sum() - before.loss_sum()));
  pending_.set_accuracy(pending_.accuracy() + static_cast<double>(total.correct() - before.correct()));
  pending_samples_ += new_samples;
  pending_nonfinite_ += new_samples - finite;
  if (new_samples > 0) {  // NaN where none was finite
    row.status.set_recent_loss((total.loss_sum() - before.loss_sum()) / static_cast<double>(finite));
  }
  row.status.set_waits_for(WaitedForLongest(before, total));
  *row.status.mutable_progress() = std::move(total);
  row.samples.Observe(now, row.status.progress().samples());
  row.blocked.Observe(now, static_cast<std::uint64_t>(1000 * std::max(0.0, row.status.progress().seconds().blocked())));
  AddPoint(now, samples);
}

void StatusBoard::AddPoint(Instant now, std::uint64_t samples) {
  const double seconds = Seconds(now);
  if (pending_samples_ == 0 || (!points_.empty() && seconds - points_.back().seconds() < point_spacing_)) return;
  v1::LossPoint& point = points_.emplace_back();
  point.set_seconds(seconds);
  point.set_samples(samples);
  point.set_loss(pending_.loss() / static_cast<double>(pending_samples_ - pending_nonfinite_));
  point.set_accuracy(pending_.accuracy() / static_cast<double>(pending_samples_));
  pending_.Clear();
  pending_samples_ = pending_nonfinite_ = 0;
  if (points_.size() < kMostPoints) return;
  std::vector<v1::LossPoint> thinned;
  for (std::size_t i = 0; i < points_.size(); i += 2) thinned.push_back(std::move(points_[i]));
  points_ = std::move(thinned);
  point_spacing_ *= 2;
}

double StatusBoard::SamplesPerSecond(Instant now) const {
  double rate = 0;
  for (const auto& [worker, row] : rows_) rate += row.samples.Get(now);
  return rate;
}

void StatusBoard::Fill(Instant now, v1::GetStatusReply* reply) const {
  FillWorkers(now, reply);
  for (const v1::Evaluation& evaluation : evaluations_) *reply->add_evaluations() = evaluation;
  for (const v1::LossPoint& point : points_) *reply->add_training() = point;
  for (const std::string& event : events_) reply->add_events(event);
}

void StatusBoard::FillWorkers(Instant now, v1::GetStatusReply* reply) const {
  for (const auto& [worker, row] : rows_) {
    v1::WorkerStatus& status = *reply->add_workers();
    status = row.status;
    status.set_samples_per_second(row.samples.Get(now));
    status.set_waiting_share(std::min(1.0, row.blocked.Get(now) / 1000));
  }
  reply->set_samples_per_second(SamplesPerSecond(now));
}

void StatusBoard::Save(v1::StatusBoardState* state) const {
  std::size_t waits = 0;
  for (const auto& [worker, row] : rows_) waits += CountWaits(row.status.progress()) + CountWaits(row.earlier);
  for (const auto& [worker, row] : rows_) {  // each row's status names its worker
    v1::StatusRow& saved = *state->add_rows();
    *saved.mutable_status() = row.status;
    saved.set_incarnation(row.incarnation);
    *saved.mutable_earlier() = row.earlier;
    if (waits <= kMostSavedWaits) continue;
    for (v1::Progress* progress : {saved.mutable_status()->mutable_progress(), saved.mutable_earlier()}) {
      progress->clear_waits();
      progress->clear_blocked_on();
    }
  }
  for (const v1::Evaluation& evaluation : evaluations_) *state->add_evaluations() = evaluation;
  for (const v1::LossPoint& point : points_) *state->add_points() = point;
  for (const std::string& event : events_) state->add_events(event);
  state->set_point_spacing(point_spacing_);
  *state->mutable_pending() = pending_;
  state->set_pending_samples(pending_samples_);
  state->set_pending_nonfinite_samples(pending_nonfinite_);
}

absl::Status StatusBoard::Restore(const v1::StatusBoardState& state) {
  if (!(state.point_spacing() > 0) || static_cast<std::size_t>(state.points_size()) >= kMostPoints ||
      static_cast<std::size_t>(state.evaluations_size()) > kMostEvaluations ||
      static_cast<std::size_t>(state.events_size()) > kMostEvents) {
    return absl::DataLossError(absl::StrFormat("status: %d points every %g s, %d evaluations, %d events",
                                               state.points_size(), state.point_spacing(), state.evaluations_size(),
                                               state.events_size()));
  }
  for (const v1::StatusRow& saved : state.rows()) {
    Row& row = rows_[saved.status().worker_id()];
    row.status = saved.status();
    row.incarnation = saved.incarnation();
    row.earlier = saved.earlier();
  }
  evaluations_.assign(state.evaluations().begin(), state.evaluations().end());
  points_.assign(state.points().begin(), state.points().end());
  events_.assign(state.events().begin(), state.events().end());
  point_spacing_ = state.point_spacing();
  pending_ = state.pending();
  pending_samples_ = state.pending_samples();
  pending_nonfinite_ = std::min<std::uint64_t>(state.pending_nonfinite_samples(), pending_samples_);
  return absl::OkStatus();
}

}  // namespace leeway
