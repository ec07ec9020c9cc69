#include "tests/worker/client/fake_cluster.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/encodings/encoding.h"
#include "worker/client/chunk_memory.h"

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
    : weights(elements),
      applied(elements),
      placement_(Placement::Make(elements, num_shards).value()),
      num_records_(num_records) {
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

void FakeCluster::Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
                       ReplyCallback done) {
  Answer answer;
  {
    MutexLock lock(mu);
    ++calls[method];
    timeouts[method] = timeout;
    absl::Status status = script.fail ? script.fail(address, method) : absl::OkStatus();
    answer = status.ok() ? Handle(address, method, request) : Answer(std::move(status), {});
    if (script.lose && script.lose(method)) answer = {absl::UnavailableError("the answer was lost"), {}};
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
  if (method == "ParameterServer/WatchRound" && script.open_round) {
    watches.push_back(Parse<v1::WatchRoundRequest>(request));
    v1::WatchRoundReply reply;
    reply.set_open_round(script.open_round(watches.back()));
    reply.set_finishing(state >= v1::FINISHING);
    return {CheckStamp(watches.back().stamp()), EncodeMessage(reply)};
  }
  if (method == "Coordinator/AcquireData") return Acquire(request);
  if (method == "Coordinator/CommitData") return Commit(request);
  if (method == "Coordinator/Join") {
    joins.push_back(Parse<v1::JoinRequest>(request));
    return Ok(join);
  }
  if (method == "Coordinator/Heartbeat") {
    heartbeats.push_back(Parse<v1::HeartbeatRequest>(request));
    const absl::Status status = CheckStamp(heartbeats.back().stamp());
    v1::HeartbeatReply reply;
    reply.set_state(state);
    reply.set_samples(committed);
    reply.set_drain(drain);
    reply.set_membership_epoch(join.membership_epoch());
    return {status, EncodeMessage(reply)};
  }
  if (method == "Coordinator/ReportProgress") {
    reports.push_back(Parse<v1::ReportProgressRequest>(request));
    v1::ReportProgressReply reply;
    reply.set_state(state);
    reply.set_drain(drain);
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
    v1::LeaveReply reply;
    reply.set_failure(failure);
    return Ok(reply);
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
  const v1::Policy* policy = script.policy ? script.policy(request) : nullptr;
  if (policy != nullptr && policy->number() != request.stamp().policy_number()) *reply.mutable_policy() = *policy;
  if (script.last_push) reply.set_last_push(script.last_push(request));
  const Buffer payload = PullPayload(request, &reply);
  return Ok(reply, payload);
}

Buffer FakeCluster::PullPayload(const v1::PullRequest& request, v1::PullReply* reply) {
  const ChunkRun run{request.run().first_block(), request.run().num_blocks()};
  Delta* known = nullptr;
  if (request.encoding() == v1::INT8) {
    known = &deltas_[{request.stamp().incarnation(), run.first_block}];
    reply->set_delta(known->sequence > 0 && known->sequence == request.base());
    reply->set_sequence(++known->sequence);
    known->seen.resize(placement_.RunElements(run));
    if (reply->delta()) ++deltas_given;
  }
  reply->set_encoding(known != nullptr && !reply->delta() ? v1::F32 : request.encoding());
  std::string payload(4 * placement_.RunElements(run) + 4 * run.num_blocks, '\0');
  char* end = payload.data();
  std::size_t done = 0;
  ForEachBlock(placement_, run, [&](std::uint64_t begin, std::size_t count) {
    std::vector<float> values(&weights[begin], &weights[begin] + count);
    for (std::size_t i = 0; i < count && reply->delta(); ++i) values[i] -= known->seen[done + i];
    const char* const block = end;
    end = EncodeBlock(reply->encoding(), values.data(), count, 0, end);
    if (known != nullptr) {
      const Buffer bytes = Buffer::Wrap(nullptr, block, static_cast<std::size_t>(end - block));
      const auto decode = reply->delta() ? DecodeAddBlock : DecodeBlock;
      if (!decode(reply->encoding(), bytes, 0, count, &known->seen[done]).ok()) known->sequence = 0;
    }
    done += count;
  });
  payload.resize(static_cast<std::size_t>(end - payload.data()));
  return Buffer::FromString(std::move(payload));
}

void FakeCluster::Apply(const v1::BlockRun& run, const std::vector<float>& gradient) {
  std::size_t at = 0;
  ForEachBlock(placement_, {run.first_block(), run.num_blocks()}, [&](std::uint64_t begin, std::size_t count) {
    for (std::size_t i = begin; i < begin + count; ++i, ++at) {
      weights[i] -= rate * gradient[at];
      applied[i] += gradient[at];
    }
  });
}

void FakeCluster::CloseRound(std::uint64_t round, bool counted) {
  const auto [first, last] = held_.equal_range(round);
  for (auto it = first; counted && it != last; ++it) Apply(it->second.first, it->second.second);
  held_.erase(first, last);
  for (auto& [push, verdicts] : chunks_) {
    if (push.second != round) continue;
    for (auto& [chunk, verdict] : verdicts) {
      if (verdict == v1::HELD) verdict = counted ? v1::APPLIED : v1::DROPPED;
    }
  }
}

FakeCluster::Answer FakeCluster::Push(std::uint32_t shard, const Buffer& bytes) {
  Buffer payload;
  const auto request = Parse<v1::PushRequest>(bytes, &payload);
  pushes.push_back(request);
  push_bytes += bytes.size();
  v1::PushReply reply;
  Verdicts& verdicts = chunks_[{request.stamp().incarnation(), request.clock()}];
  const auto known = verdicts.find({shard, request.chunk()});
  if (known != verdicts.end()) {  // also when its incarnation is no member any more
    reply.set_verdict(known->second);
    reply.set_duplicate(true);
    reply.set_open_round(request.clock() + 10);
    return Ok(reply);
  }
  if (absl::Status status = CheckStamp(request.stamp()); !status.ok()) return {status, {}};
  const v1::Verdict scripted = script.verdict ? script.verdict(request) : v1::VERDICT_NONE;
  const bool null = request.null_verdict() != v1::VERDICT_NONE;
  std::vector<float> gradient(placement_.RunElements({request.run().first_block(), request.run().num_blocks()}));
  absl::Status status;
  std::size_t at = 0, done = 0;
  ForEachBlock(placement_, {request.run().first_block(), request.run().num_blocks()},
               [&](std::uint64_t, std::size_t count) {
                 const auto end = DecodeBlock(request.encoding(), payload, at, count, &gradient[done]);
                 if (!end.ok()) status.Update(end.status());
                 at = end.value_or(at);
                 done += count;
               });
  if (!status.ok() || at != payload.size()) return {absl::InvalidArgumentError("a malformed payload"), {}};
  reply.set_generation(9);
  reply.set_journaled(++journaled[shard]);
  const bool finite = std::all_of(gradient.begin(), gradient.end(), [](float g) { return std::isfinite(g); });
  const v1::Verdict verdict = !finite                        ? v1::REFUSED
                              : scripted != v1::VERDICT_NONE ? scripted
                              : null                         ? request.null_verdict()
                                                             : v1::APPLIED;
  verdicts[{shard, request.chunk()}] = verdict;
  if (!finite) return {absl::InvalidArgumentError("non-finite value"), {}};
  if (verdict == v1::APPLIED) Apply(request.run(), gradient);
  if (verdict == v1::HELD) held_.emplace(request.clock(), std::pair(request.run(), std::move(gradient)));
  std::size_t expected = 0;
  for (std::uint32_t s = 0; s < placement_.num_shards(); ++s) expected += null ? 1 : placement_.ShardChunks(s);
  if (verdicts.size() == expected) ++version;
  reply.set_verdict(verdict);
  reply.set_version(version);
  reply.set_open_round(request.clock() + 10);
  return Ok(reply);
}

FakeCluster::Answer FakeCluster::Acquire(const Buffer& bytes) {
  const auto request = Parse<v1::AcquireDataRequest>(bytes);
  if (absl::Status status = CheckStamp(request.stamp()); !status.ok()) return {status, {}};
  acquires.emplace_back(request, !ranges.empty());
  v1::AcquireDataReply reply;
  reply.set_membership_epoch(join.membership_epoch());
  reply.set_state(state);
  if (ranges.empty()) {
    reply.set_parked(!request.ahead());
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
