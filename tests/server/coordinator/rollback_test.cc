#include "server/coordinator/rollback.h"

#include "server/coordinator/data_leases.h"
#include "server/coordinator/membership.h"
#include "tests/catch.h"

namespace leeway {
namespace {

v1::CoordinatorState StateOf(std::uint64_t sequence, std::uint64_t steps) {
  v1::CoordinatorState state;
  state.set_run_id(7);
  state.set_num_shards(2);
  state.set_sequence(sequence);
  state.set_run_state(v1::TRAINING);
  state.set_steps(steps);
  state.set_samples(10 * steps);
  state.set_trained_nanos(static_cast<std::int64_t>(steps) * 1000);
  state.mutable_membership()->set_epoch(sequence);
  state.mutable_membership()->set_started(true);
  state.add_shards()->set_generation(1);
  state.add_shards()->set_generation(2);
  return state;
}

void AddMember(std::uint32_t id, const std::string& name, std::uint64_t incarnation, v1::MemberState member_state,
               v1::CoordinatorState* state) {
  (*state->mutable_membership()->mutable_ids())[name] = id;
  v1::Member& member = *state->mutable_membership()->add_members();
  member.set_worker_id(id);
  member.set_name(name);
  member.set_incarnation(incarnation);
  member.set_state(member_state);
}

v1::CheckpointIndex CheckpointOf(const v1::CoordinatorState& state, std::uint64_t era) {
  v1::CheckpointIndex index;
  *index.mutable_coordinator_state() = state;
  index.set_era(era);
  return index;
}

TEST_CASE("Progress is the checkpoint's; decisions, names and time go on") {
  v1::CoordinatorState then = StateOf(5, 100);
  AddMember(0, "a", 11, v1::LIVE, &then);
  v1::CoordinatorState now = StateOf(9, 300);
  AddMember(0, "a", 12, v1::LIVE, &now);
  AddMember(1, "b", 13, v1::JOINING, &now);
  AddMember(2, "e", 14, v1::OBSERVER, &now);
  (*now.mutable_membership()->mutable_ids())["gone"] = 3;
  (*now.mutable_membership()->mutable_ended())[3] = 15;
  now.set_era(2);
  now.set_divergences(1);
  then.set_owed_going_back("a loss");
  now.set_owed_going_back("a loss");
  then.mutable_tickets()->set_last_serial(90);
  now.mutable_tickets()->set_last_serial(290);
  const v1::CoordinatorState state = *RollBack(now, CheckpointOf(then, 1), "step-00000100", 2);
  CHECK(state.steps() == 100);
  CHECK(state.owed_going_back().empty());
  CHECK(state.trained_nanos_at_checkpoint() == state.trained_nanos());
  CHECK(state.samples() == 1000);
  CHECK(state.samples_lost() == 2000);
  now.set_samples_lost(500);
  CHECK(RollBack(now, CheckpointOf(then, 1), "step-00000100", 2)->samples_lost() == 2500);
  CHECK(state.tickets().last_serial() == 90);  // from which a max_delay of sqrt goes on
  CHECK(state.trained_nanos() == 300'000);
  CHECK(state.sequence() == 10);
  CHECK(state.membership().epoch() == 10);
  CHECK(state.era() == 3);
  CHECK(state.base_checkpoint() == "step-00000100");
  CHECK(state.divergences() == 1);
  CHECK(state.shards_size() == 2);
  CHECK(state.shards(0).generation() == 0);
  // Nobody is a member, no incarnation of before may come back, and the trainers are waited for.
  Membership membership({.num_shards = 2});
  REQUIRE(membership.Restore({}, state.membership()).ok());
  CHECK(membership.members().empty());
  CHECK(membership.started());
  for (const auto& [name, incarnation] : std::map<std::string, std::uint64_t>{{"a", 12}, {"b", 13}, {"gone", 15}}) {
    CHECK(absl::IsFailedPrecondition(membership.Join({}, {.name = name, .incarnation = incarnation}).status()));
    CHECK(membership.IdOf(name).has_value());
  }
  CHECK(membership.Join({}, {.name = "a", .incarnation = 99}).ok());
  CHECK(std::vector<std::string>(state.regrouping().begin(), state.regrouping().end()) ==
        std::vector<std::string>{"a", "b"});
}

TEST_CASE("Who had not come back when the run goes back once more is still waited for") {
  const v1::CoordinatorState then = StateOf(5, 100);
  v1::CoordinatorState now = StateOf(9, 300);
  AddMember(1, "b", 13, v1::LIVE, &now);
  now.add_regrouping("a");
  now.add_regrouping("b");
  const v1::CoordinatorState state = *RollBack(now, CheckpointOf(then, 1), "step-00000100", 2);
  CHECK(std::vector<std::string>(state.regrouping().begin(), state.regrouping().end()) ==
        std::vector<std::string>{"a", "b"});
}

TEST_CASE("Who was in quarantine is shown so, everybody else as out") {
  v1::CoordinatorState now = StateOf(9, 300);
  for (const char* state : {"live", "left", "quarantined", "parked"}) {
    v1::WorkerStatus& status = *now.mutable_board()->add_rows()->mutable_status();
    status.set_state(state);
    status.set_clock(300);
  }
  const v1::CoordinatorState state = *RollBack(now, CheckpointOf(StateOf(5, 100), 1), "step-00000100", 2);
  std::vector<std::string> shown;
  for (const v1::StatusRow& row : state.board().rows()) {
    shown.push_back(row.status().state());
    CHECK(row.status().clock() == 0);  // nobody has done a step since
  }
  CHECK(shown == std::vector<std::string>{"expired", "left", "quarantined", "expired"});
}

TEST_CASE("The test set belongs to the evaluations, which stay") {
  v1::CoordinatorState now = StateOf(9, 300);
  now.mutable_test_data()->set_num_records(20);
  v1::CoordinatorState then = StateOf(5, 100);
  CHECK(RollBack(now, CheckpointOf(then, 1), "step-00000100", 2)->test_data().num_records() == 20);
  // Alone, the checkpoint has its own.
  then.mutable_test_data()->set_num_records(21);
  CHECK(RollBack({}, CheckpointOf(then, 1), "step-00000100", 2)->test_data().num_records() == 21);
}

TEST_CASE("Leased records are handed out again, committed ones stay so") {
  DataLeases leases({.num_records = 100, .epochs = 1});
  const v1::DataRange done = *leases.Acquire({0, 11}, 10);
  REQUIRE(leases.Commit({0, 11}, done, true) == 10);
  leases.Acquire({0, 11}, 20);
  v1::CoordinatorState then = StateOf(5, 100);
  leases.Save(then.mutable_leases());
  const v1::CoordinatorState state = *RollBack(StateOf(9, 300), CheckpointOf(then, 0), "step-00000100", 2);
  DataLeases after({.num_records = 100, .epochs = 1});
  REQUIRE(after.Restore(state.leases()).ok());
  CHECK(after.committed() == 10);
  std::uint64_t records = 0;
  while (const auto range = after.Acquire({0, 99}, 7)) records += after.Commit({0, 99}, *range, true);
  CHECK(records == 90);
  CHECK(after.done());
}

TEST_CASE("Of a run of which only the checkpoint is there, everything is the checkpoint's") {
  v1::CoordinatorState then = StateOf(5, 100);
  AddMember(0, "a", 11, v1::LIVE, &then);
  const v1::CoordinatorState state = *RollBack({}, CheckpointOf(then, 4), "step-00000100", 3);
  CHECK(state.run_id() == 7);
  CHECK(state.num_shards() == 3);
  CHECK(state.shards_size() == 3);
  CHECK(state.era() == 5);
  CHECK(state.sequence() == 6);
  CHECK(state.membership().ended().at(0) == 11);
  CHECK(state.regrouping_size() == 1);
}

TEST_CASE("Another run's checkpoint, and one without a coordinator's state, are refused by name") {
  v1::CoordinatorState other = StateOf(5, 100);
  other.set_run_id(8);
  const absl::Status foreign = RollBack(StateOf(9, 300), CheckpointOf(other, 0), "step-00000100", 2).status();
  CHECK(absl::IsFailedPrecondition(foreign));
  CHECK(foreign.message() == "step-00000100 is of run 8, this is run 7");
  const absl::Status old = RollBack(StateOf(9, 300), {}, "step-00000100", 2).status();
  CHECK(absl::IsFailedPrecondition(old));
}

}  // namespace
}  // namespace leeway
