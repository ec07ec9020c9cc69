// ProgressAtCut: what a checkpoint says has been trained on are the steps below its limits, and no others.
#include "server/coordinator/progress_at_cut.h"

#include <map>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

v1::CoordinatorState StateOf(v1::Aggregation aggregation, std::uint32_t workers) {
  v1::CoordinatorState state;
  state.mutable_policy()->set_aggregation(aggregation);
  for (std::uint32_t worker = 0; worker < workers; ++worker) {
    v1::Member& member = *state.mutable_membership()->add_members();
    member.set_worker_id(worker);
    member.set_incarnation(100 + worker);
    member.set_rank(worker);
  }
  return state;
}

void AddLimit(v1::Cut* cut, std::uint32_t worker, std::uint64_t clock) {
  v1::MemberClock& limit = *cut->add_limits();
  limit.set_worker_id(worker);
  limit.set_incarnation(100 + worker);
  limit.set_clock(clock);
}

v1::CommitDataRequest CommitOf(std::uint32_t worker, std::uint64_t step, bool applied = true) {
  v1::CommitDataRequest request;
  request.mutable_stamp()->set_worker_id(worker);
  request.mutable_stamp()->set_incarnation(100 + worker);
  request.set_clock(step);
  request.set_applied(applied);
  request.set_samples(10);
  return request;
}

TEST_CASE("ProgressAtCut: leased records are trained on if their step is below the limit, whenever its commit comes") {
  Random random(TestSeed());
  for (int run = 0; run < 200; ++run) {
    constexpr std::uint32_t kWorkers = 3;
    DataLeases leases({.num_records = 64, .epochs = 0, .max_range = 0, .max_retries = 3});
    v1::CoordinatorState state = StateOf(v1::EACH, kWorkers);
    v1::Cut cut;
    std::map<std::uint32_t, std::uint64_t> limits;
    std::vector<v1::CommitDataRequest> early;
    std::vector<v1::CommitDataRequest> late;
    std::uint64_t samples = 0;
    std::uint64_t steps = 0;
    for (std::uint32_t worker = 0; worker < kWorkers; ++worker) {
      const std::uint64_t entry = random.Below(5);
      state.mutable_membership()->mutable_members(static_cast<int>(worker))->set_entry_clock(entry);
      limits[worker] = entry + random.Below(20);
      AddLimit(&cut, worker, limits[worker]);
      for (std::uint64_t step = entry; step < limits[worker] + random.Below(4); ++step) {
        v1::CommitDataRequest commit = CommitOf(worker, step, random.Below(8) > 0);
        *commit.add_ranges() = *leases.Acquire({worker, 100 + worker}, 1 + random.Below(5));
        const bool below = step < limits[worker];
        if (below && commit.applied()) {
          samples += commit.ranges(0).end() - commit.ranges(0).begin();
          ++steps;
        }
        (below && random.Below(2) == 0 ? early : late).push_back(commit);
      }
    }
    // What the coordinator does with a commit.
    const auto count = [&](const v1::CommitDataRequest& commit) {
      const DataLeases::Holder holder{commit.stamp().worker_id(), commit.stamp().incarnation()};
      const std::uint64_t records = leases.Commit(holder, commit.ranges(0), commit.applied());
      if (commit.applied()) {
        state.set_samples(state.samples() + records);
        state.set_steps(state.steps() + 1);
      }
      v1::MemberData* data = nullptr;
      for (v1::MemberData& known : *state.mutable_member_data()) {
        if (known.worker_id() == holder.worker) data = &known;
      }
      if (data == nullptr) data = state.add_member_data();
      data->set_worker_id(holder.worker);
      data->set_incarnation(holder.incarnation);
      data->add_committed(commit.clock());
    };
    for (const auto& commit : early) count(commit);
    ProgressAtCut at_cut(state, leases, cut);
    for (std::size_t i = late.size(); i > 1; --i) std::swap(late[i - 1], late[random.Below(i)]);
    for (const auto& commit : late) {
      leases.Acquire({0, 100}, 3);  // the run goes on
      count(commit);
      at_cut.Commit(commit, commit.stamp().worker_id());
      at_cut.Commit(commit, commit.stamp().worker_id());  // a repetition
    }
    const v1::CoordinatorState saved = at_cut.State();
    CHECK(at_cut.awaited() == 0);
    CHECK(saved.samples() == samples);
    CHECK(saved.steps() == steps);
    CHECK(saved.leases().committed() == samples);
    DataLeases restored({.num_records = 64, .epochs = 0, .max_range = 0, .max_retries = 3});
    REQUIRE(restored.Restore(saved.leases()).ok());
  }
}

TEST_CASE("ProgressAtCut: a step that a return from parking has left open counts if the weights have it") {
  v1::CoordinatorState state = StateOf(v1::EACH, 1);
  state.mutable_membership()->mutable_members(0)->set_entry_clock(20);
  DataLeases leases({.num_records = 64, .epochs = 0, .max_range = 0, .max_retries = 3});
  // Steps 3, 4, 5 and 20 are in the weights, 6 and 21 are not; step 3 is committed.
  v1::Cut cut;
  AddLimit(&cut, 0, 21);
  for (const std::uint64_t step : {3, 4, 5}) cut.mutable_limits(0)->add_begun(step);
  state.add_member_data()->set_incarnation(100);
  state.mutable_member_data(0)->add_committed(3);
  for (const std::uint64_t step : {6, 7}) cut.mutable_limits(0)->add_not_begun(step);
  std::map<std::uint64_t, v1::CommitDataRequest> commits;
  for (const std::uint64_t step : {4, 5, 6, 20, 21}) {
    commits[step] = CommitOf(0, step);
    *commits[step].add_ranges() = *leases.Acquire({0, 100}, 1);
  }
  ProgressAtCut at_cut(state, leases, cut);
  CHECK(at_cut.awaited() == 3);
  for (const auto& [step, commit] : commits) at_cut.Commit(commit, 0);
  CHECK(at_cut.awaited() == 0);
  CHECK(at_cut.State().steps() == 3);
  CHECK(at_cut.State().leases().committed() == 3);
}

TEST_CASE("ProgressAtCut: who is gone is not waited for") {
  v1::CoordinatorState state = StateOf(v1::EACH, 2);
  v1::Cut cut;
  AddLimit(&cut, 0, 2);
  AddLimit(&cut, 1, 3);
  ProgressAtCut at_cut(state, std::nullopt, cut);
  CHECK(at_cut.awaited() == 5);
  at_cut.Forget(1, 999);  // an earlier life of it
  CHECK(at_cut.awaited() == 5);
  at_cut.Forget(1, 101);
  CHECK(at_cut.awaited() == 2);
  at_cut.Commit(CommitOf(1, 0), 1);
  CHECK(at_cut.State().steps() == 0);
}

TEST_CASE("ProgressAtCut: a static cursor does not speak of steps beyond the limit") {
  v1::CoordinatorState state = StateOf(v1::EACH, 2);
  (*state.mutable_data_cursor())[0] = 8;  // steps 0 to 7; step 9 has its verdict, step 8 has not
  v1::MemberData& data = *state.add_member_data();
  data.set_worker_id(0);
  data.set_incarnation(100);
  for (const std::uint64_t step : {0, 1, 2, 3, 4, 5, 6, 7, 9}) data.add_committed(step);
  v1::Cut cut;
  AddLimit(&cut, 0, 10);
  ProgressAtCut at_cut(state, std::nullopt, cut);
  v1::CommitDataRequest beyond = CommitOf(0, 10);
  beyond.set_data_step(8);  // the worker does not know of step 8 yet
  at_cut.Commit(beyond, 0);
  CHECK(at_cut.State().data_cursor().at(0) == 8);
  v1::CommitDataRequest below = CommitOf(0, 8);
  below.set_data_step(11);  // now it does, and of step 10 too
  at_cut.Commit(below, 0);
  CHECK(at_cut.State().data_cursor().at(0) == 10);
  CHECK(at_cut.State().samples() == 10);
  CHECK(at_cut.awaited() == 0);
}

TEST_CASE("ProgressAtCut: the tickets of later steps do not count for the schedule, and stay open") {
  v1::CoordinatorState state = StateOf(v1::EACH, 1);
  v1::TicketOfficeState& tickets = *state.mutable_tickets();
  tickets.set_last_serial(4);
  tickets.set_samples(100);
  for (std::uint64_t step = 0; step < 4; ++step) {
    v1::TicketDecision& decision = *tickets.add_decisions();
    decision.set_incarnation(100);
    decision.set_clock(step);
    decision.mutable_ticket()->set_serial(step + 1);
    decision.set_samples(20 + static_cast<std::uint32_t>(step));
    decision.set_settled(step == 0);
  }
  v1::Cut cut;
  AddLimit(&cut, 0, 2);
  state.add_member_data()->set_incarnation(100);
  state.mutable_member_data(0)->add_committed(0);
  ProgressAtCut at_cut(state, std::nullopt, cut);
  at_cut.Commit(CommitOf(0, 1), 0);
  const v1::CoordinatorState saved = at_cut.State();
  CHECK(saved.tickets().samples() == 100 - 22 - 23);
  CHECK(saved.tickets().last_serial() == 4);
  for (int step = 0; step < 4; ++step) CHECK(saved.tickets().decisions(step).settled() == (step < 2));
}

TEST_CASE("ProgressAtCut: in rounds nothing is awaited") {
  v1::Cut cut;
  AddLimit(&cut, 0, 7);
  CHECK(ProgressAtCut(StateOf(v1::ROUND, 1), std::nullopt, cut).awaited() == 0);
}

}  // namespace
}  // namespace leeway
