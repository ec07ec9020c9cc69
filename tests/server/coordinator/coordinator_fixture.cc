#include "tests/server/coordinator/coordinator_fixture.h"

#include <spdlog/spdlog.h>

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "common/rpc.h"

namespace leeway {
namespace {

v1::Manifest Zeros() {
  v1::Manifest manifest;
  manifest.set_model("zeros");
  v1::TensorSpec& spec = *manifest.add_tensors();
  spec.set_name("w");
  spec.add_shape(10000);
  return manifest;
}

Coordinator::Options OptionsOf(const v1::Policy& policy, std::uint32_t shards,
                               const std::function<void(Coordinator::Options*)>& change) {
  spdlog::set_level(spdlog::level::off);
  Coordinator::Options options;
  options.policy = policy;
  options.num_shards = shards;
  options.run_id = CoordinatorFixture::kRun;
  if (change) change(&options);
  return options;
}

}  // namespace

v1::Policy LeasedPolicy(std::uint32_t workers) {
  v1::Policy policy;
  policy.set_number(1);
  policy.set_staleness_bound(8);
  policy.set_max_delay(-1);
  policy.set_num_workers(workers);
  policy.set_data_sharing(v1::LEASED);
  return policy;
}

v1::Policy RoundsPolicy(std::uint32_t workers, std::uint64_t steps) {
  v1::Policy policy = LeasedPolicy(workers);
  policy.set_staleness_bound(0);
  policy.set_aggregation(v1::ROUND);
  policy.set_data_sharing(v1::STATIC);
  policy.mutable_stop()->set_steps(steps);
  return policy;
}

CoordinatorFixture::CoordinatorFixture(const v1::Policy& policy, std::uint32_t shards, CrashFiles* files,
                                       const std::function<void(Coordinator::Options*)>& change)
    : num_shards(shards),
      manifest(*Manifest::FromProto(Zeros())),
      store(files == nullptr ? nullptr : *FileCoordinatorStore::Open("dir", files, &clock, &disk)),
      coordinator(OptionsOf(policy, shards, change), &clock, &executor,
                  store == nullptr ? static_cast<CoordinatorStore*>(&nothing) : store.get()) {
  if (const auto saved = store == nullptr ? std::nullopt : store->TakeSaved()) {
    const absl::Status status = coordinator.Restore(saved->state, saved->manifest);
    if (!status.ok()) throw std::runtime_error(status.ToString());
  }
  coordinator.Start();
}

CoordinatorFixture::~CoordinatorFixture() { clock.Stop(); }

void CoordinatorFixture::RunAll() {
  do {
    executor.RunAll();
    if (!disk_idle) disk.RunAll();
  } while (executor.size() > 0);
}

void CoordinatorFixture::Advance(absl::Duration duration) {
  const Instant end = clock.Now() + duration;
  while (clock.Now() < end) {
    clock.AdvanceTo(std::min(end, clock.Now() + absl::Milliseconds(50)));
    RunAll();
  }
}

void CoordinatorFixture::AdvanceServed(absl::Duration duration) {
  for (const Instant end = clock.Now() + duration; clock.Now() < end;) {
    Advance(std::min(absl::Duration(end - clock.Now()), absl::Seconds(1)));
    SyncShards();
  }
}

v1::WatchRequest CoordinatorFixture::WatchOf(std::uint32_t shard) {
  v1::WatchRequest request;
  request.set_shard_index(shard);
  request.set_num_shards(num_shards);
  request.set_generation(7000 + shard);
  request.set_address(absl::StrCat("shard", shard, ":1"));
  request.mutable_local_endpoint()->set_host("host");
  request.mutable_local_endpoint()->set_address(absl::StrCat("local:", request.generation()));
  request.set_protocol_version(kProtocolVersion);
  request.set_weights_ready(true);
  request.set_keeps_journal(journals);
  request.set_era(era);
  const auto it = known.find(shard);
  if (it == known.end()) return request;
  const v1::WatchReply& snapshot = it->second;
  request.set_run_id(snapshot.run_id());
  request.set_known_sequence(snapshot.sequence());
  if (!snapshot.closes().empty()) request.set_closed_round(snapshot.closes(snapshot.closes_size() - 1).round() + 1);
  for (const v1::Member& member : snapshot.members()) {
    if (member.state() != v1::JOINING) continue;
    v1::MemberClock& installed = *request.add_installed();
    installed.set_worker_id(member.worker_id());
    installed.set_incarnation(member.incarnation());
    installed.set_clock(minimum_clock[shard]);
  }
  request.set_policy_number(snapshot.policy().number());
  request.set_policy_busy(policy_busy);
  const v1::PolicyChange& change = snapshot.policy_change();
  if (change.id() == 0 || change.decided()) return request;
  request.mutable_policy_ack()->set_id(change.id());
  request.mutable_policy_ack()->set_error(policy_error[shard]);
  for (const v1::Member& member : snapshot.members()) {
    v1::StepLimit& read = *request.mutable_policy_ack()->add_read();
    read.set_worker_id(member.worker_id());
    read.set_incarnation(member.incarnation());
    read.set_clock(farthest[member.worker_id()]);
  }
  return request;
}

void CoordinatorFixture::SyncShards() {
  for (bool news = true; news;) {
    news = false;
    for (std::uint32_t shard = 0; shard < num_shards; ++shard) {
      const auto answer = Call<v1::WatchReply>("WatchMembership", WatchOf(shard));
      clock.Advance(absl::ZeroDuration());  // its limit is now
      RunAll();
      news = news || known.count(shard) == 0 || answer->message.sequence() > known[shard].sequence();
      known[shard] = answer->message;
    }
  }
}

v1::JoinRequest CoordinatorFixture::JoinOf(const std::string& name, std::uint64_t incarnation) const {
  v1::JoinRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_name(name);
  request.set_incarnation(incarnation);
  *request.mutable_manifest() = manifest.ToProto();
  request.set_model_fingerprint(manifest.fingerprint());
  request.mutable_data()->set_num_records(100);
  request.mutable_data()->set_fingerprint(0xd);
  request.set_rank(-1);
  request.set_samples_per_step(10);
  return request;
}

std::shared_ptr<Answer<v1::JoinReply>> CoordinatorFixture::Join(const v1::JoinRequest& request) {
  return Call<v1::JoinReply>("Join", request);
}

void CoordinatorFixture::Start(std::uint32_t workers) {
  SyncShards();
  for (std::uint32_t id = 0; id < workers; ++id) Join(JoinOf(absl::StrCat("w", id), 100 + id));
  SyncShards();
}

v1::Stamp CoordinatorFixture::StampOf(std::uint32_t worker) const {
  v1::Stamp stamp;
  stamp.set_run_id(kRun);
  stamp.set_worker_id(worker);
  stamp.set_incarnation(100 + worker);
  for (const v1::Member& member : snapshot().members()) {
    if (member.worker_id() == worker) stamp.set_incarnation(member.incarnation());
  }
  return stamp;
}

std::shared_ptr<Answer<v1::AcquireDataReply>> CoordinatorFixture::Acquire(std::uint32_t worker, std::uint64_t number,
                                                                          std::uint64_t records) {
  v1::AcquireDataRequest request;
  *request.mutable_stamp() = StampOf(worker);
  request.set_request(number);
  request.set_records(records);
  return Call<v1::AcquireDataReply>("AcquireData", request);
}

std::shared_ptr<Answer<v1::CommitDataReply>> CoordinatorFixture::Commit(std::uint32_t worker, std::uint64_t step,
                                                                        const std::vector<v1::DataRange>& ranges,
                                                                        bool applied) {
  v1::CommitDataRequest request;
  *request.mutable_stamp() = StampOf(worker);
  request.set_clock(step);
  request.set_applied(applied);
  request.set_samples(10);
  for (const v1::DataRange& range : ranges) *request.add_ranges() = range;
  return Call<v1::CommitDataReply>("CommitData", request);
}

std::shared_ptr<Answer<v1::LeaveReply>> CoordinatorFixture::Leave(std::uint32_t worker, bool finished,
                                                                  std::uint64_t pushed) {
  v1::LeaveRequest request;
  *request.mutable_stamp() = StampOf(worker);
  request.set_reason("the test says so");
  request.set_finished(finished);
  request.set_pushed(pushed);
  return Call<v1::LeaveReply>("Leave", request);
}

absl::Status CoordinatorFixture::Heartbeat(std::uint32_t worker) {
  v1::HeartbeatRequest request;
  *request.mutable_stamp() = StampOf(worker);
  return Call<v1::HeartbeatReply>("Heartbeat", request)->status;
}

v1::ReportRoundRequest CoordinatorFixture::ReportOf(std::uint32_t shard, std::uint64_t round,
                                                    const std::vector<std::uint32_t>& ranks) {
  v1::ReportRoundRequest request;
  request.set_shard_index(shard);
  request.set_run_id(kRun);
  request.set_round(round);
  request.set_generation(7000 + shard);
  for (std::uint32_t rank : ranks) {
    v1::RoundContribution& contribution = *request.add_complete();
    contribution.set_rank(rank);
    contribution.set_samples(10);
    contribution.set_usable(true);
  }
  return request;
}

void CoordinatorFixture::Report(std::uint32_t shard, std::uint64_t round, const std::vector<std::uint32_t>& ranks) {
  Call<v1::ReportRoundReply>("ReportRound", ReportOf(shard, round, ranks));
}

v1::GetStatusReply CoordinatorFixture::Status() {
  return Call<v1::GetStatusReply>("GetStatus", v1::GetStatusRequest())->message;
}

}  // namespace leeway
