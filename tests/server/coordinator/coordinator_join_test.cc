// Coordinator through Handle(): starting, joining, the handshakes, shards.
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

TEST_CASE("Coordinator: the start waits for every ps and every worker, and says for whom") {
  CoordinatorFixture f(LeasedPolicy(2), 2);
  const auto first = f.Join(f.JoinOf("b", 2));
  f.Advance(Coordinator::kMaxHold + absl::Milliseconds(100));
  REQUIRE(first->ok());
  CHECK(first->message.not_yet().reason().find("missing: ps 0, ps 1") != std::string::npos);
  f.SyncShards();
  const auto alone = f.Join(f.JoinOf("b", 2));
  CHECK(f.Status().waiting_for().find("1 of 2 workers have come: b") != std::string::npos);
  f.Advance(Coordinator::kMaxHold + absl::Milliseconds(100));
  CHECK(alone->message.not_yet().reason().find("1 of 2") != std::string::npos);
  CHECK(f.coordinator.state() == v1::STARTING);
  const auto b = f.Join(f.JoinOf("b", 2));
  const auto a = f.Join(f.JoinOf("a", 1));
  CHECK_FALSE(a->done());  // the shards do not know it yet
  f.SyncShards();
  REQUIRE(a->ok());
  REQUIRE(b->ok());
  CHECK(a->message.rank() == 0);  // by name, not by arrival
  CHECK(b->message.rank() == 1);
  CHECK(a->message.run_id() == CoordinatorFixture::kRun);
  CHECK(a->message.shard_addresses(1) == "shard1:1");
  REQUIRE(a->message.local_endpoints_size() == 2);
  CHECK(a->message.local_endpoints(1).host() == "host");
  CHECK(a->message.local_endpoints(1).address() == "local:7001");
  CHECK(a->message.num_records() == 100);
  CHECK(a->message.lease_millis() == 10000);
  CHECK_FALSE(a->message.put_weights());
  CHECK(a->message.membership_epoch() == f.snapshot().membership_epoch());
  CHECK(f.coordinator.state() == v1::TRAINING);
  CHECK(f.snapshot().mean_samples() == 10);
}

TEST_CASE("Coordinator: a heartbeat brings the address book to who knows an older one") {
  CoordinatorFixture f(LeasedPolicy(1), 2);
  f.Start(1);
  v1::HeartbeatRequest heartbeat;
  *heartbeat.mutable_stamp() = f.StampOf(0);
  const v1::HeartbeatReply reply = f.Call<v1::HeartbeatReply>("Heartbeat", heartbeat)->message;
  REQUIRE(reply.shard_addresses_size() == 2);
  CHECK(reply.shard_addresses(1) == "shard1:1");
  REQUIRE(reply.local_endpoints_size() == 2);
  CHECK(reply.local_endpoints(1).address() == "local:7001");
  heartbeat.set_address_book_version(reply.address_book_version());
  const v1::HeartbeatReply again = f.Call<v1::HeartbeatReply>("Heartbeat", heartbeat)->message;
  CHECK(again.shard_addresses_size() + again.local_endpoints_size() == 0);
}

TEST_CASE("Coordinator: names are printable, whoever joins, and what is said of others is short") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  for (const char* name : {"w\n2026-11-26 E ps-0: forged", "\x1b[2J", "a\xc2\x9b\x31m", "\xe2\x80\xae"}) {
    const auto answer = f.Join(f.JoinOf(name, 9));
    CHECK(Says(answer->status, Code::kInvalidArgument, {"not printable"}));
    CHECK(answer->status.message().find(name) == absl::string_view::npos);
  }
  CHECK_FALSE(absl::IsInvalidArgument(f.Join(f.JoinOf("worker \xe2\x82\xac <b>", 9))->status));
  const std::string huge(1 << 20, 'm');
  v1::JoinRequest join = f.JoinOf("x", 9);
  join.mutable_manifest()->set_model(huge);
  join.set_model_fingerprint(5);
  CHECK(f.Join(join)->status.message().size() < 1000);
  CHECK(f.Join(f.JoinOf(huge, 9))->status.message().size() < 1000);
}

TEST_CASE("Coordinator: what a worker leaves with is one printable line") {
  CoordinatorFixture f(LeasedPolicy(2));
  f.Start(2);
  v1::LeaveRequest leave;
  *leave.mutable_stamp() = f.StampOf(1);
  leave.set_reason("bye\n2026-11-26 E ps-0: forged\x1b[2J" + std::string(1000, 'x'));
  REQUIRE(f.Call<v1::LeaveReply>("Leave", leave)->ok());
  const std::string reason = f.Status().workers(1).reason();
  CHECK(absl::StartsWith(reason, "bye\xef\xbf\xbd\x32\x30"));
  CHECK(reason.size() <= 200);
  CHECK(reason.find_first_of("\n\x1b") == std::string::npos);
}

TEST_CASE("Coordinator: how a run has ended, that of another run does not say") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  v1::LeaveRequest leave;
  *leave.mutable_stamp() = f.StampOf(0);
  leave.mutable_stamp()->set_run_id(f.StampOf(0).run_id() + 1);
  CHECK(absl::IsFailedPrecondition(f.Call<v1::LeaveReply>("Leave", leave)->status));
  // Of this run, also whoever is no member any more.
  *leave.mutable_stamp() = f.StampOf(0);
  leave.mutable_stamp()->set_incarnation(f.StampOf(0).incarnation() + 1);
  CHECK(f.Call<v1::LeaveReply>("Leave", leave)->ok());
}

TEST_CASE("Coordinator: each mismatch in the handshake names both values") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  const auto refused = [&f](const v1::JoinRequest& request, std::initializer_list<const char*> words,
                            Code code = Code::kFailedPrecondition) {
    const auto answer = f.Join(request);
    CAPTURE(answer->status.message());
    REQUIRE(answer->calls == 1);
    CHECK(Says(answer->status, code, words));
  };
  v1::JoinRequest join = f.JoinOf("x", 9);
  join.set_protocol_version(7);
  refused(join, {"protocol version 7", "speaks 1"});
  join.set_protocol_version(0);
  refused(join, {"protocol version 0"});
  join = f.JoinOf("x", 9);
  join.set_num_shards(3);
  refused(join, {"num_shards is 3", "1 in this cluster"});
  join = f.JoinOf("x", 9);
  join.set_model_fingerprint(0x1234);
  refused(join, {"1234", absl::StrCat(absl::Hex(f.manifest.fingerprint())).c_str(), "zeros"});
  join = f.JoinOf("x", 9);
  join.set_run_id(0xdef);
  refused(join, {"run def", "run abc"});
  join = f.JoinOf("x", 9);
  join.mutable_data()->set_num_records(99);
  refused(join, {"records is 99", "100"});
  join = f.JoinOf("x", 9);
  join.mutable_data()->set_fingerprint(0xe);
  refused(join, {"fingerprint is 14", "13"});
  join = f.JoinOf("x", 9);
  join.set_block_elements(8192);
  refused(join, {"block size is 8192", "4096"});
  join = f.JoinOf("x", 9);
  join.set_chunk_elements(5);
  refused(join, {"chunk size is 5", "1048576"});
  join = f.JoinOf("x", 9);
  join.set_pipeline_depth(15);
  refused(join, {"pipeline_depth=15", "at most 14"});
  join.set_pipeline_depth(0xffffffff);
  refused(join, {"pipeline_depth=4294967295", "at most 14"});
  join = f.JoinOf("x", 9);
  join.set_init_fingerprint(0x77);
  refused(join, {"77", "its seed"});
  join = f.JoinOf("x", 9);
  join.set_rank(0);
  const auto taken = f.Join(join);
  CHECK(Says(taken->status, Code::kFailedPrecondition, {"rank 0", "'w0'"}));
  refused(f.JoinOf("", 9), {"0 bytes"}, Code::kInvalidArgument);
  refused(f.JoinOf(std::string(200, 'x'), 9), {"200 bytes"}, Code::kInvalidArgument);
  refused(f.JoinOf("x", 0), {"incarnation is 0"}, Code::kInvalidArgument);
  CHECK(f.snapshot().members_size() == 1);
}

TEST_CASE("Coordinator: bound 0 refuses a pipeline") {
  CoordinatorFixture f(RoundsPolicy(1, 5));
  v1::JoinRequest join = f.JoinOf("a", 1);
  join.set_pipeline_depth(1);
  CHECK(Says(f.Join(join)->status, Code::kFailedPrecondition, {"pipeline_depth=1", "it is 0 here"}));
}

TEST_CASE("Coordinator: encodings that contradict the policy are refused at Join") {
  CoordinatorFixture f(RoundsPolicy(1, 5));
  v1::JoinRequest join = f.JoinOf("a", 1);
  join.set_pull_encoding(v1::INT8);
  CHECK(Says(f.Join(join)->status, Code::kFailedPrecondition, {"--pull_encoding=delta", "round"}));
}

TEST_CASE("Coordinator: a group of the flags that the model does not have is refused at Join") {
  v1::Policy policy = LeasedPolicy(1);
  policy.add_groups()->set_group("bias");  // the default of --group_decay
  policy.add_groups()->set_group("baises");
  CoordinatorFixture f(policy);
  v1::JoinRequest join = f.JoinOf("a", 1);
  CHECK(Says(f.Join(join)->status, Code::kFailedPrecondition, {"--group_decay", "'baises'", "model 'zeros' has ''"}));
  join.mutable_manifest()->mutable_tensors(0)->set_group("baises");
  join.set_model_fingerprint(Manifest::FromProto(join.manifest())->fingerprint());
  CHECK(f.Join(join)->status.ok());
}

TEST_CASE("Coordinator: a first joiner with an impossible model is refused, and the next may bring another") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.SyncShards();
  v1::JoinRequest join = f.JoinOf("a", 1);
  join.mutable_manifest()->mutable_tensors(0)->set_shape(0, -5);
  CHECK(Says(f.Join(join)->status, Code::kInvalidArgument, {"dimension -5"}));
  join = f.JoinOf("a", 1);
  join.mutable_data()->set_num_records(0);
  CHECK(Says(f.Join(join)->status, Code::kInvalidArgument, {"no records"}));
  join = f.JoinOf("a", 1);
  join.set_model_fingerprint(3);
  CHECK(Says(f.Join(join)->status, Code::kFailedPrecondition, {"fingerprint 3"}));
  CHECK_FALSE(f.Join(f.JoinOf("a", 1))->done());
  f.SyncShards();
  CHECK(f.coordinator.state() == v1::TRAINING);
}

TEST_CASE("Coordinator: in rounds a rank keeps its batch") {
  CoordinatorFixture f(RoundsPolicy(1, 5));
  f.Start(1);
  f.Leave(0);
  f.SyncShards();
  v1::JoinRequest join = f.JoinOf("w0", 500);
  join.set_samples_per_step(7);
  CHECK(Says(f.Join(join)->status, Code::kFailedPrecondition, {"rank 0", "10 samples", "not 7"}));
  const auto again = f.Join(f.JoinOf("w0", 501));
  f.SyncShards();
  CHECK(again->ok());
}

TEST_CASE("Coordinator: shards that do not fit are refused, naming both") {
  CoordinatorFixture f(LeasedPolicy(1), 2);
  f.SyncShards();
  const auto watch = [&f](const v1::WatchRequest& request) {
    return f.Call<v1::WatchReply>("WatchMembership", request)->status;
  };
  v1::WatchRequest request = f.WatchOf(1);
  request.set_num_shards(3);
  CHECK(Says(watch(request), Code::kFailedPrecondition, {"ps 1 of 3", "num_shards 2"}));
  request = f.WatchOf(1);
  request.set_shard_index(2);
  CHECK(Says(watch(request), Code::kFailedPrecondition, {"ps 2 of 2"}));
  request = f.WatchOf(1);
  request.set_run_id(0xdef);
  CHECK(Says(watch(request), Code::kFailedPrecondition, {"run def", "run abc"}));
  request = f.WatchOf(1);
  request.set_protocol_version(3);
  CHECK(Says(watch(request), Code::kFailedPrecondition, {"ps 1 at shard1:1", "version 3", "speaks 1"}));
  request = f.WatchOf(1);
  request.set_generation(0);
  CHECK(Says(watch(request), Code::kInvalidArgument, {"generation"}));
  request = f.WatchOf(1);
  request.set_generation(9999);
  request.set_run_id(0);
  CHECK(Says(watch(request), Code::kUnavailable, {"270f", "1b59", "serves this shard"}));
  // Before there is a model, a ps that was started anew takes its place once the old one is silent.
  f.Advance(absl::Seconds(11));
  request.set_wait_millis(0);
  CHECK(watch(request).ok());
}

TEST_CASE("Coordinator: only a ps that lives takes another's place, no call that was late") {
  CoordinatorFixture f(LeasedPolicy(1), 2);
  f.SyncShards();
  const auto prove = [&f](std::uint64_t generation, std::uint64_t proof) {
    v1::WatchRequest request = f.WatchOf(1);
    request.set_generation(generation);
    request.set_keeps_journal(true);
    request.set_can_prove(true);
    request.set_proof(proof);
    request.set_wait_millis(0);
    const auto answer = f.Call<v1::WatchReply>("WatchMembership", request);
    f.Advance(absl::Milliseconds(100));
    REQUIRE(answer->ok());
    return answer->message.prove();
  };
  const std::uint64_t served = f.WatchOf(1).generation();
  // A call of the process before, sent long ago, and once more: neither has what it is asked for.
  const std::uint64_t late = prove(4444, 0);
  CHECK(late != 0);
  CHECK(prove(4444, 1) == late);
  CHECK(prove(served, 0) == 0);  // so who serves goes on
  const std::uint64_t asked = prove(5555, 0);
  CHECK(asked != late);
  CHECK(prove(5555, late) == asked);
  CHECK(prove(4444, 0) == late);  // who asks beside it does not make it begin anew
  CHECK(prove(5555, asked) == 0);
  CHECK(prove(5555, 0) == 0);  // it has the place now
  const std::uint64_t anew = prove(4444, late);
  CHECK(anew != 0);  // what was asked before is of no use any more
  CHECK(anew != late);
  v1::WatchRequest before = f.WatchOf(1);
  CHECK(Says(f.Call<v1::WatchReply>("WatchMembership", before)->status, Code::kFailedPrecondition, {"has replaced"}));
}

TEST_CASE("Coordinator: shard 0 is the one in this process") {
  CoordinatorFixture f(LeasedPolicy(1), 1, nullptr,
                       [](Coordinator::Options* options) { options->own_generation = 7000; });
  v1::WatchRequest request = f.WatchOf(0);
  request.set_generation(7000);
  request.set_wait_millis(0);
  const auto own = f.Call<v1::WatchReply>("WatchMembership", request);
  f.Advance(absl::Milliseconds(100));
  CHECK(own->ok());
  request.set_generation(6999);
  CHECK(Says(f.Call<v1::WatchReply>("WatchMembership", request)->status, Code::kFailedPrecondition, {"1b57", "1b58"}));
}

TEST_CASE("Coordinator: a watch is answered at once when there is news, else at its limit") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.SyncShards();
  v1::WatchRequest request = f.WatchOf(0);
  request.set_wait_millis(1500);
  const auto idle = f.Call<v1::WatchReply>("WatchMembership", request);
  f.Advance(absl::Milliseconds(1400));
  CHECK_FALSE(idle->done());
  f.Advance(absl::Milliseconds(200));
  REQUIRE(idle->ok());
  CHECK(idle->message.sequence() == f.snapshot().sequence());
  const auto news = f.Call<v1::WatchReply>("WatchMembership", request);
  f.Join(f.JoinOf("w0", 100));
  REQUIRE(news->ok());
  CHECK(news->message.sequence() > request.known_sequence());
  CHECK(news->message.model_fingerprint() == f.manifest.fingerprint());
}

TEST_CASE("Coordinator: a joiner is live at the maximum of what the shards installed") {
  CoordinatorFixture f(LeasedPolicy(1), 2);
  f.Start(1);
  f.minimum_clock = {{0, 4}, {1, 6}};
  const auto joined = f.Join(f.JoinOf("late", 77));
  f.SyncShards();
  REQUIRE(joined->ok());
  CHECK(joined->message.entry_clock() == 6);
  CHECK(f.snapshot().members(1).entry_clock() == 6);
}

TEST_CASE("Coordinator: an acknowledgement of an earlier joining does not stand for a later one") {
  v1::Policy policy = LeasedPolicy(1);
  policy.mutable_stop()->set_epochs(1);
  CoordinatorFixture f(policy, 2);
  f.Start(1);
  const v1::DataRange range = f.Acquire(0, 1, 100)->message.range();
  f.minimum_clock = {{0, 2}, {1, 2}};
  f.Join(f.JoinOf("late", 77));
  f.known[1] = f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(1))->message;
  const v1::WatchRequest stale = f.WatchOf(1);  // late is installed at 2: sent, and slow
  REQUIRE(stale.installed_size() == 1);
  f.SyncShards();
  REQUIRE(f.snapshot().members(1).state() == v1::LIVE);
  f.Acquire(1, 1, 10);  // nothing is left: parked
  f.SyncShards();
  REQUIRE(f.snapshot().members(1).state() == v1::PARKED);
  f.minimum_clock = {{0, 3}, {1, 9}};
  REQUIRE(f.Commit(0, 0, {range}, false)->ok());  // refused: handed out again
  f.known[0] = f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0))->message;
  REQUIRE(f.known[0].members(1).state() == v1::JOINING);
  f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  f.Call<v1::WatchReply>("WatchMembership", stale);
  f.SyncShards();
  REQUIRE(f.snapshot().members(1).state() == v1::LIVE);
  CHECK(f.snapshot().members(1).entry_clock() == 9);
}

TEST_CASE("Coordinator: unknown methods, garbage, and Shutdown") {
  CoordinatorFixture f(LeasedPolicy(2));
  f.SyncShards();
  CHECK(Says(f.Call<v1::JoinReply>("Jion", v1::JoinRequest())->status, Code::kUnimplemented, {"Jion"}));
  auto garbage = std::make_shared<Answer<v1::JoinReply>>();
  f.coordinator.Handle("Join", Buffer::FromString("\xff\xff"), FillIn(garbage));
  CHECK(Says(garbage->status, Code::kInvalidArgument, {"JoinRequest"}));
  const auto held = f.Join(f.JoinOf("a", 1));
  const auto watch = f.Call<v1::WatchReply>("WatchMembership", f.WatchOf(0));
  CHECK_FALSE(held->done());
  f.coordinator.Shutdown("the test says so");
  f.executor.RunAll();
  CHECK(Says(held->status, Code::kUnavailable, {"the test says so"}));
  CHECK(watch->done());
  CHECK(Says(f.Join(f.JoinOf("a", 1))->status, Code::kUnavailable, {"the test says so"}));
}

TEST_CASE("Coordinator: who comes back is shown at the clock where it enters") {
  CoordinatorFixture f(LeasedPolicy(2));
  f.Start(2);
  CHECK(f.Commit(0, 6, {f.Acquire(0, 1, 10)->message.range()})->ok());
  CHECK(f.Status().workers(0).clock() == 7);
  f.Leave(0);
  f.SyncShards();
  CHECK(f.Status().workers(0).clock() == 7);
  f.minimum_clock[0] = 3;
  f.Join(f.JoinOf("w0", 200));
  f.SyncShards();
  f.SyncShards();
  CHECK(f.Status().workers(0).clock() == 3);
}

}  // namespace
}  // namespace leeway
