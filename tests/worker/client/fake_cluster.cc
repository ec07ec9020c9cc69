#include "tests/worker/client/fake_cluster.h"

#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

template <typename Message>
Message Parse(const Buffer& bytes, Buffer* payload = nullptr) {
  Message message;
  Buffer ignored;
  if (!DecodeMessage(bytes, &message, payload == nullptr ? &ignored : payload).ok()) message.Clear();
  return message;
}

std::pair<absl::Status, Buffer> Ok(const google::protobuf::Message& message, const Buffer& payload = {}) {
  return {absl::OkStatus(), EncodeMessage(message, payload)};
}

}  // namespace

FakeCluster::FakeCluster(std::uint64_t elements, std::uint32_t num_shards, v1::Policy policy, std::uint64_t num_records)
    : weights(elements), placement_(Placement::Make(elements, num_shards).value()), num_records_(num_records) {
  if (policy.num_workers() == 0) policy.set_num_workers(1);
  policy.set_number(1);
  join.set_run_id(77);
  join.set_worker_id(5);
  join.set_membership_epoch(3);
  *join.mutable_policy() = std::move(policy);
  for (std::uint32_t shard = 0; shard < num_shards; ++shard) join.add_shard_addresses(absl::StrCat("shard-", shard));
  join.set_address_book_version(1);
  join.set_num_shards(num_shards);
  join.set_block_elements(placement_.block_elements());
  join.set_chunk_elements(Placement::kChunkElements);
  join.set_lease_millis(300);
  join.set_state(v1::TRAINING);
  join.set_num_records(num_records);
}

void FakeCluster::Call(const std::string& address, const std::string& method, Buffer request, absl::Duration,
                       ReplyCallback done) {
  Answer answer;
  {
    MutexLock lock(mu);
    ++calls[method];
    absl::Status status = script.fail ? script.fail(address, method) : absl::OkStatus();
    answer = status.ok() ? Handle(address, method, request) : Answer(std::move(status), {});
  }
  done(std::move(answer.first), std::move(answer.second));
}

absl::Status FakeCluster::CheckStamp(const v1::Stamp& stamp) {
  if (stamp.run_id() == join.run_id() && expired.count(stamp.incarnation()) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("incarnation ", stamp.incarnation(), " is no member"));
}

FakeCluster::Answer FakeCluster::Handle(const std::string& address, const std::string& method, const Buffer& request) {
  std::uint32_t shard = 0;
  if (absl::StartsWith(address, "shard-") && !absl::SimpleAtoi(address.substr(6), &shard)) {
    return {absl::UnavailableError(address), {}};
  }
  if (method == "ParameterServer/Pull") return Pull(request);
  if (method == "ParameterServer/Push") return Push(shard, request);
  if (method == "Coordinator/AcquireData") return Acquire(request);
  if (method == "Coordinator/CommitData") return Commit(request);
  if (method == "Coordinator/Join") {
    joins.push_back(Parse<v1::JoinRequest>(request));
    return Ok(join);
  }
  if (method == "Coordinator/Heartbeat") {
    const absl::Status status = CheckStamp(Parse<v1::HeartbeatRequest>(request).stamp());
    v1::HeartbeatReply reply;
    reply.set_state(state);
    reply.set_samples(committed);
    reply.set_membership_epoch(join.membership_epoch());
    return {status, EncodeMessage(reply)};
  }
  if (method == "Coordinator/ReportProgress") {
    reports.push_back(Parse<v1::ReportProgressRequest>(request));
    v1::ReportProgressReply reply;
    reply.set_state(state);
    return {CheckStamp(reports.back().stamp()), EncodeMessage(reply)};
  }
  if (method == "Coordinator/OpenPush") {
    const auto open = Parse<v1::OpenPushRequest>(request);
    v1::Ticket ticket;
    ticket.set_serial(open.clock() + 1);
    ticket.set_rate_scale(1);
    if (!script.ticket) return Ok(ticket);
    const absl::StatusOr<v1::Ticket> scripted = script.ticket(open);
    return scripted.ok() ? Ok(*scripted) : Answer(scripted.status(), {});
  }
  if (method == "Coordinator/Leave") {
    leaves.push_back(Parse<v1::LeaveRequest>(request));
    return Ok(v1::LeaveReply());
  }
  return {absl::UnimplementedError(method), {}};
}

FakeCluster::Answer FakeCluster::Pull(const Buffer& bytes) {
  const auto request = Parse<v1::PullRequest>(bytes);
  pulls.push_back(request);
  if (absl::Status status = CheckStamp(request.stamp()); !status.ok()) return {status, {}};
  v1::PullReply reply;
  reply.set_version(version);
  reply.set_generation(9);
  reply.set_ticket_watermark(version);
  const bool shut = (script.gate && !script.gate(request)) || version < request.min_version();
  if (shut) {
    v1::Waiting& waiting = *reply.mutable_not_yet()->add_on();
    waiting.set_worker_id(8);
    return Ok(reply);
  }
  *reply.mutable_run() = request.run();
  std::string payload;
  for (std::uint32_t i = 0; i < request.run().num_blocks(); ++i) {
    const std::uint64_t block = request.run().first_block() + std::uint64_t{i} * placement_.num_shards();
    payload.append(reinterpret_cast<const char*>(weights.data() + placement_.BlockBegin(block)),
                   placement_.BlockSize(block) * sizeof(float));
  }
  return Ok(reply, Buffer::FromString(std::move(payload)));
}

FakeCluster::Answer FakeCluster::Push(std::uint32_t shard, const Buffer& bytes) {
  Buffer payload;
  const auto request = Parse<v1::PushRequest>(bytes, &payload);
  pushes.push_back(request);
  if (absl::Status status = CheckStamp(request.stamp()); !status.ok()) return {status, {}};
  v1::PushReply reply;
  const v1::Verdict scripted = script.verdict ? script.verdict(request) : v1::VERDICT_NONE;
  const bool null = request.null_verdict() != v1::VERDICT_NONE;
  reply.set_verdict(scripted != v1::VERDICT_NONE ? scripted : null ? request.null_verdict() : v1::APPLIED);
  auto& seen = chunks_[request.clock()];
  reply.set_duplicate(!seen.insert({shard, request.chunk()}).second);
  if (reply.duplicate()) return Ok(reply);
  std::size_t offset = 0;
  for (std::uint32_t i = 0; i < request.run().num_blocks(); ++i) {
    const std::uint64_t block = request.run().first_block() + std::uint64_t{i} * placement_.num_shards();
    std::vector<float> gradient(placement_.BlockSize(block));
    payload.CopyTo(offset, gradient.size() * sizeof(float), gradient.data());
    offset += gradient.size() * sizeof(float);
    for (std::size_t e = 0; e < gradient.size(); ++e) {
      if (!std::isfinite(gradient[e])) return {absl::InvalidArgumentError("non-finite value"), {}};
      if (reply.verdict() == v1::APPLIED) weights[placement_.BlockBegin(block) + e] -= rate * gradient[e];
    }
  }
  std::size_t expected = 0;
  for (std::uint32_t s = 0; s < placement_.num_shards(); ++s) expected += null ? 1 : placement_.ShardChunks(s);
  if (seen.size() == expected) ++version;
  reply.set_version(version);
  reply.set_open_round(request.clock() + 10);
  return Ok(reply);
}

FakeCluster::Answer FakeCluster::Acquire(const Buffer& bytes) {
  const auto request = Parse<v1::AcquireDataRequest>(bytes);
  if (absl::Status status = CheckStamp(request.stamp()); !status.ok()) return {status, {}};
  v1::AcquireDataReply reply;
  reply.set_membership_epoch(join.membership_epoch());
  reply.set_state(state);
  if (ranges.empty()) {
    reply.set_parked(true);
    return Ok(reply);
  }
  v1::DataRange& range = *reply.mutable_range() = ranges.front();
  range.set_lease(next_lease_++);
  range.set_end(std::min(range.end(), range.begin() + request.records()));
  ranges.front().set_begin(range.end());
  if (ranges.front().begin() == ranges.front().end()) ranges.pop_front();
  return Ok(reply);
}

FakeCluster::Answer FakeCluster::Commit(const Buffer& bytes) {
  const auto request = Parse<v1::CommitDataRequest>(bytes);
  commits.push_back(request);
  if (absl::Status status = CheckStamp(request.stamp()); !status.ok()) return {status, {}};
  for (const v1::DataRange& range : request.ranges()) {
    if (request.applied()) {
      committed += range.end() - range.begin();
    } else {
      ranges.push_back(range);
    }
  }
  if (num_records_ > 0 && committed >= num_records_) state = v1::FINISHING;
  return Ok(v1::CommitDataReply());
}

}  // namespace leeway
