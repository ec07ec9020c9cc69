// Coordinator through Handle(): SetPolicy.
#include <string>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/server/coordinator/checkpoint_run.h"
#include "tests/support/crash_files.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Asked = std::shared_ptr<Answer<v1::SetPolicyReply>>;
using Settings = std::vector<std::pair<std::string, std::string>>;

v1::Policy Trainable(std::uint32_t workers) {
  v1::Policy policy = LeasedPolicy(workers);
  policy.mutable_schedule()->set_rate(0.1);
  return policy;
}

Asked Set(CoordinatorFixture& f, const Settings& settings, int wait_seconds = 10, std::uint64_t based_on = 0) {
  v1::SetPolicyRequest request;
  request.set_based_on(based_on);
  for (const auto& [name, value] : settings) {
    v1::PolicySetting& setting = *request.add_settings();
    setting.set_name(name);
    setting.set_value(value);
  }
  request.set_wait_millis(static_cast<std::uint32_t>(1000 * wait_seconds));
  return f.Call<v1::SetPolicyReply>("SetPolicy", request);
}

void Beat(CoordinatorFixture& f, absl::Duration duration, std::uint32_t workers) {
  for (absl::Duration done; done < duration; done += absl::Seconds(1)) {
    for (std::uint32_t id = 0; id < workers; ++id) f.Heartbeat(id).IgnoreError();
    f.Advance(absl::Seconds(1));
  }
}

TEST_CASE("Coordinator: a setting takes effect on all shards, in two steps, and the asker hears when") {
  CoordinatorFixture f(Trainable(2), 2);
  f.Start(2);
  f.farthest = {{0, 7}, {1, 4}};
  const Asked asked = Set(f, {{"staleness_bound", "2"}, {"learning_rate", "0.05"}});
  // First only the question, under the old policy.
  const auto first = f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  REQUIRE(first->ok());
  CHECK(first->message.policy().number() == 1);
  CHECK(first->message.policy_change().id() != 0);
  CHECK_FALSE(first->message.policy_change().decided());
  CHECK_FALSE(asked->done());
  CHECK(f.Status().policy().number() == 1);
  CHECK_FALSE(f.Status().policy_waits_for().empty());
  f.SyncShards();
  REQUIRE(asked->ok());
  CHECK_FALSE(asked->message.has_not_yet());
  CHECK(asked->message.policy().number() == 2);
  CHECK(asked->message.policy().staleness_bound() == 2);
  CHECK(asked->message.policy().schedule().rate() == 0.05);
  CHECK(f.snapshot().policy().number() == 2);
  CHECK(f.snapshot().policy_change().id() == 0);  // no step of before is open
  CHECK(f.Status().policy_waits_for().empty());
  // Asked again, it is so already: no new number.
  const Asked again = Set(f, {{"staleness_bound", "2"}});
  REQUIRE(again->ok());
  CHECK(again->message.policy().number() == 2);
  CHECK(f.Status()
            .events(f.Status().events_size() - 1)
            .find("policy 2: staleness_bound: 8 -> 2; learning_rate: 0.1 -> "
                  "0.05") != std::string::npos);
}

TEST_CASE("Coordinator: what cannot be set is refused by name, and changes nothing") {
  CoordinatorFixture f(Trainable(1), 1);
  CHECK(Says(Set(f, {{"staleness_bound", "2"}})->status, Code::kFailedPrecondition, {"training has not begun"}));
  f.SyncShards();
  v1::JoinRequest deep = f.JoinOf("deep", 100);
  deep.set_pipeline_depth(3);
  f.Join(deep);
  f.SyncShards();
  const auto refused = [&f](const Settings& settings, Code code, std::initializer_list<const char*> words) {
    const Asked asked = Set(f, settings);
    CHECK(Says(asked->status, code, words));
    CHECK(f.Status().policy().number() == 1);
    CHECK(f.Status().policy_waits_for().empty());
  };
  refused({{"stalenes_bound", "2"}}, Code::kInvalidArgument, {"stalenes_bound", "did you mean staleness_bound?"});
  refused({{"staleness_bound", "two"}}, Code::kInvalidArgument, {"staleness_bound=two", "-1, 0 and above"});
  refused({{"staleness_bound", "-2"}}, Code::kInvalidArgument, {"staleness_bound=-2"});
  refused({{"optimizer", "adam"}}, Code::kInvalidArgument, {"optimizer", "fixed for the whole run"});
  // All of them or none.
  refused({{"learning_rate", "0.5"}, {"max_delay", "0"}}, Code::kInvalidArgument, {"max_delay=0"});
  refused({{"staleness_bound", "0"}}, Code::kFailedPrecondition, {"worker 'deep'", "--pipeline_depth=3"});
  refused({{"checkpoint_interval", "1m"}}, Code::kFailedPrecondition, {"no --checkpoint_dir"});
  v1::SetPolicyRequest other;
  other.set_run_id(0x999);
  CHECK(Says(f.Call<v1::SetPolicyReply>("SetPolicy", other)->status, Code::kFailedPrecondition, {"run 999"}));
  // Whoever joins later has to live with it as well.
  f.Leave(0);
  f.SyncShards();
  const Asked zero = Set(f, {{"staleness_bound", "0"}});
  f.SyncShards();
  REQUIRE(zero->ok());
  deep.set_incarnation(101);
  CHECK(Says(f.Join(deep)->status, Code::kFailedPrecondition, {"--pipeline_depth=3"}));
}

TEST_CASE("Coordinator: a shard that does not answer gives the change up; nothing has changed") {
  CoordinatorFixture f(Trainable(1), 2);
  f.Start(1);
  f.policy_error[1] = "ps 1 was started again meanwhile";
  const Asked asked = Set(f, {{"staleness_bound", "2"}});
  f.SyncShards();
  CHECK(Says(asked->status, Code::kAborted, {"nothing is changed", "ps 1 was started again meanwhile"}));
  CHECK(f.snapshot().policy().number() == 1);
  CHECK(f.snapshot().policy_change().id() == 0);
  f.policy_error.clear();
  // Silence.
  const Asked silent = Set(f, {{"staleness_bound", "2"}});
  Beat(f, absl::Seconds(7), 1);
  CHECK(Says(silent->status, Code::kAborted, {"nothing is changed", "ps 0 has not said"}));
  CHECK(f.Status().policy().number() == 1);
}

TEST_CASE("Coordinator: one change at a time; a step of before, and a joiner, are waited for") {
  CoordinatorFixture f(Trainable(1), 1);
  f.Start(1);
  f.policy_busy = "worker 'w0' has not ended step 3";
  f.SyncShards();
  const Asked asked = Set(f, {{"staleness_bound", "2"}}, 1);
  CHECK_FALSE(asked->done());
  Beat(f, absl::Seconds(2), 1);
  REQUIRE(asked->ok());
  CHECK(asked->message.not_yet().reason() == "nothing is changed yet: worker 'w0' has not ended step 3");
  f.policy_busy.clear();
  // A joiner is not installed yet.
  f.Join(f.JoinOf("w1", 101));
  f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  const Asked waits = Set(f, {{"staleness_bound", "2"}});
  CHECK_FALSE(waits->done());
  f.SyncShards();
  REQUIRE(waits->ok());
  CHECK(waits->message.policy().number() == 2);
  // And while the shards are asked, nobody is let in.
  const Asked next = Set(f, {{"staleness_bound", "3"}});
  const auto joining = f.Join(f.JoinOf("w2", 102));
  CHECK_FALSE(joining->done());
  f.SyncShards();
  REQUIRE(next->ok());
  CHECK(next->message.policy().number() == 3);
  REQUIRE(joining->ok());
  CHECK(joining->message.policy().number() == 3);
}

TEST_CASE("Coordinator: a setting that is decided when the run ends is answered, though shards have not heard of it") {
  v1::Policy policy = Trainable(1);
  policy.mutable_stop()->set_steps(1);
  CoordinatorFixture f(policy, 1);
  f.Start(1);
  const Asked asked = Set(f, {{"staleness_bound", "2"}});
  for (int i = 0; i < 2; ++i) {  // it hears the question, and acknowledges
    const auto answer = f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
    if (answer->done()) f.known[0] = answer->message;
  }
  REQUIRE(f.Status().policy().number() == 2);
  CHECK_FALSE(asked->done());
  CHECK(f.Commit(0, 0, {f.Acquire(0, 1, 10)->message.range()})->ok());
  f.Leave(0);
  CHECK(f.coordinator.state() == v1::FINISHED);
  REQUIRE(asked->ok());
  CHECK(asked->message.policy().number() == 2);
}

TEST_CASE("Coordinator: a call that the network brings again much later changes nothing, also after a restart") {
  CrashFiles files(1);
  const Settings two = {{"staleness_bound", "2"}};
  {
    CoordinatorFixture f(Trainable(1), 1, &files);
    f.Start(1);
    const Asked which = Set(f, {}, 0);  // no setting: which policy is it?
    f.Advance(absl::Milliseconds(50));
    REQUIRE(which->ok());
    CHECK(which->message.policy().number() == 1);
    const Asked asked = Set(f, two, 10, 1);
    const Asked twin = Set(f, two, 10, 1);  // while it is under way
    f.SyncShards();
    REQUIRE(asked->ok());
    REQUIRE(twin->ok());
    const Asked answered = Set(f, two, 10, 1);  // and when it has just been done
    REQUIRE(answered->ok());
    CHECK(answered->message.policy().number() == 2);
    const Asked next = Set(f, {{"staleness_bound", "4"}}, 10, 2);
    f.SyncShards();
    REQUIRE(next->ok());
    const Asked late = Set(f, two, 10, 1);
    f.SyncShards();
    CHECK(Says(late->status, Code::kAborted, {"policy 3", "policy 1"}));
  }
  files.Restart(CrashFiles::Loss::kProcess);
  CoordinatorFixture f(Trainable(1), 1, &files);
  f.SyncShards();
  const Asked late = Set(f, two, 10, 1);
  f.SyncShards();
  CHECK(Says(late->status, Code::kAborted, {"policy 3", "policy 1"}));
  CHECK(f.Status().policy().staleness_bound() == 4);
}

TEST_CASE("Coordinator: tickets follow the policy of the push's step, and schedules go on where they were") {
  CoordinatorFixture f(Trainable(1), 1);
  f.Start(1);
  CHECK(f.Commit(0, 0, {f.Acquire(0, 1, 10)->message.range()})->ok());
  f.farthest = {{0, 3}};
  const Asked asked = Set(f, {{"max_delay", "4"}});
  f.SyncShards();
  REQUIRE(asked->ok());
  v1::OpenPushRequest open;
  *open.mutable_stamp() = f.StampOf(0);
  open.set_clock(3);
  open.set_samples(10);
  const auto ticket = f.Call<v1::Ticket>("OpenPush", open);
  REQUIRE(ticket->ok());
  CHECK(ticket->message.samples_before() == 10);
}

TEST_CASE("Coordinator: checkpoints at other times, and quarantine after another number") {
  CheckpointRun run(Trainable(1), 1000);
  run.f.Start(1);
  const Asked asked = Set(run.f, {{"checkpoint_steps", "2"}, {"quarantine_after", "1"}});
  run.f.SyncShards();
  REQUIRE(asked->ok());
  CHECK(asked->message.policy().checkpoint_times().steps() == 2);
  for (std::uint64_t step = 0; step < 2; ++step) {
    CHECK(run.f.Commit(0, step, {run.f.Acquire(0, step + 1, 10)->message.range()})->ok());
  }
  run.f.Advance(absl::Milliseconds(200));
  CHECK(run.committer.begun.size() == 1);
  v1::WatchRequest sick = run.f.WatchOf(0);
  v1::NonFiniteRun& one = *sick.add_nonfinite_runs();
  one.set_worker_id(0);
  one.set_longest(1);
  run.Send(0, sick);
  CHECK(run.f.Status().workers(0).state() == "quarantined");
}

TEST_CASE("Coordinator: what was set survives a restart of ps 0, and its flags still name the run's beginning") {
  CrashFiles files(1);
  {
    CoordinatorFixture f(Trainable(1), 1, &files);
    f.Start(1);
    f.farthest = {{0, 5}};
    const Asked asked = Set(f, {{"staleness_bound", "2"}, {"quarantine_after", "7"}});
    f.SyncShards();
    REQUIRE(asked->ok());
    // Begun, and not decided: it is lost with its asker.
    Set(f, {{"staleness_bound", "3"}});
    f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  }
  files.Restart(CrashFiles::Loss::kProcess);
  CoordinatorFixture f(Trainable(1), 1, &files);
  CHECK(f.Status().policy().number() == 2);
  CHECK(f.Status().policy().staleness_bound() == 2);
  CHECK(f.Status().policy().quarantine_after() == 7);
  f.SyncShards();
  CHECK(f.snapshot().policy().number() == 2);
  CHECK(f.snapshot().policy_change().id() == 0);
  const Asked asked = Set(f, {{"staleness_bound", "4"}});
  f.SyncShards();
  REQUIRE(asked->ok());
  CHECK(asked->message.policy().number() == 3);
}

}  // namespace
}  // namespace leeway
