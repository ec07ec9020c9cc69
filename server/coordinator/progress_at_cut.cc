#include "server/coordinator/progress_at_cut.h"

#include <algorithm>

#include "server/push_window.h"

namespace leeway {
namespace {

// A worker has fewer steps than this between its newest push and its oldest unanswered commit: kAhead pushes, and the
// commits that it lets stand (worker/trainer/training_session.cc).
constexpr std::uint64_t kUnderWay = 4 * PushWindow::kAhead;

}  // namespace

ProgressAtCut::ProgressAtCut(v1::CoordinatorState state, std::optional<DataLeases> leases, const v1::Cut& cut)
    : state_(std::move(state)), leases_(std::move(leases)) {
  if (state_.policy().aggregation() == v1::ROUND) return;
  for (const v1::MemberClock& limit : cut.limits()) limits_[{limit.worker_id(), limit.incarnation()}] = limit;
  for (const v1::MemberData& data : state_.member_data()) {
    committed_[{data.worker_id(), data.incarnation()}].insert(data.committed().begin(), data.committed().end());
  }
  for (const v1::Member& member : state_.membership().members()) {
    const Worker worker{member.worker_id(), member.incarnation()};
    const auto limit = limits_.find(worker);
    if (limit == limits_.end()) continue;
    const std::uint64_t end = limit->second.clock();
    const std::uint64_t under_way = end > kUnderWay ? end - kUnderWay : 0;
    const std::set<std::uint64_t>& known = committed_[worker];
    const auto await = [&](std::uint64_t step) {
      if (known.count(step) == 0) awaited_[worker].insert(step);
    };
    for (std::uint64_t step = std::max(under_way, member.entry_clock()); step < end; ++step) await(step);
    for (const std::uint64_t step : limit->second.begun()) {
      const bool forgotten = known.size() >= kUnderWay && step < *known.begin();
      if (step < member.entry_clock() && !forgotten) await(step);
    }
    const auto open = awaited_.find(worker);
    if (leases_ || open == awaited_.end()) continue;
    const auto cursor = state_.data_cursor().find(member.rank());
    const std::uint64_t done = cursor == state_.data_cursor().end() ? 0 : cursor->second;
    most_[worker] = done + (end - *open->second.begin());
  }
  LeaveOutTickets();
}

bool ProgressAtCut::Holds(const Worker& worker, std::uint64_t step) const {
  const auto limit = limits_.find(worker);
  if (limit == limits_.end() || step >= limit->second.clock()) return false;
  const auto& not_begun = limit->second.not_begun();
  return std::find(not_begun.begin(), not_begun.end(), step) == not_begun.end();
}

// The schedule goes by the samples of the tickets given; those of later steps will be given again. Their serials stay,
// for every shard has to hear of each.
void ProgressAtCut::LeaveOutTickets() {
  v1::TicketOfficeState& tickets = *state_.mutable_tickets();
  for (const v1::TicketDecision& decision : tickets.decisions()) {
    if (decision.ticket().serial() == 0) continue;
    if (decision.settled() || Holds({decision.worker_id(), decision.incarnation()}, decision.clock())) continue;
    tickets.set_samples(tickets.samples() - std::min<std::uint64_t>(tickets.samples(), decision.samples()));
  }
}

void ProgressAtCut::Commit(const v1::CommitDataRequest& request, std::uint32_t rank) {
  const Worker worker{request.stamp().worker_id(), request.stamp().incarnation()};
  if (!Holds(worker, request.clock()) || !committed_[worker].insert(request.clock()).second) return;
  if (const auto open = awaited_.find(worker); open != awaited_.end()) open->second.erase(request.clock());
  std::uint64_t records = 0;
  for (const v1::DataRange& range : request.ranges()) {
    if (!leases_) break;
    records += leases_->Commit({worker.first, worker.second}, range, request.applied() && !request.partial());
  }
  if (request.applied()) {
    state_.set_samples(state_.samples() + (leases_ ? records : request.samples()));
    state_.set_steps(state_.steps() + 1);
  }
  if (!leases_) {
    std::uint64_t& cursor = (*state_.mutable_data_cursor())[rank];
    cursor = std::max(cursor, std::min(request.data_step(), most_[worker]));
  }
  for (v1::MemberData& data : *state_.mutable_member_data()) {
    if (data.worker_id() == worker.first && data.incarnation() == worker.second) data.add_committed(request.clock());
  }
  for (v1::TicketDecision& decision : *state_.mutable_tickets()->mutable_decisions()) {
    const bool same = decision.worker_id() == worker.first && decision.incarnation() == worker.second;
    if (same && decision.clock() == request.clock()) decision.set_settled(true);
  }
}

void ProgressAtCut::Forget(std::uint32_t worker, std::uint64_t incarnation) {
  awaited_.erase({worker, incarnation});
  limits_.erase({worker, incarnation});
}

std::size_t ProgressAtCut::awaited() const {
  std::size_t steps = 0;
  for (const auto& [worker, open] : awaited_) steps += open.size();
  return steps;
}

v1::CoordinatorState ProgressAtCut::State() const {
  v1::CoordinatorState state = state_;
  if (leases_) {
    state.clear_leases();
    leases_->Save(state.mutable_leases());
  }
  return state;
}

}  // namespace leeway
