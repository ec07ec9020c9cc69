#include "tests/server/shard_fixture.h"

#include <utility>

namespace leeway {

v1::Manifest ZeroManifest(std::uint64_t elements) {
  v1::Manifest manifest;
  manifest.set_model("zeros");
  v1::TensorSpec& spec = *manifest.add_tensors();
  spec.set_name("w");
  spec.add_shape(static_cast<std::int64_t>(elements));
  return manifest;
}

v1::Policy ExactPolicy(std::int64_t bound, v1::Aggregation aggregation) {
  v1::Policy policy;
  policy.set_number(1);
  policy.set_staleness_bound(bound);
  policy.set_aggregation(aggregation);
  policy.set_max_delay(-1);
  policy.set_num_workers(1);
  policy.mutable_schedule()->set_rate(1);
  return policy;
}

Buffer Filled(std::uint64_t count, float value) {
  auto floats = std::make_shared<std::vector<float>>(count, value);
  const float* data = floats->data();
  return Buffer::Wrap(std::move(floats), data, count * sizeof(float));
}

std::vector<float> ToFloats(const Buffer& buffer) {
  std::vector<float> floats(buffer.size() / sizeof(float));
  buffer.CopyTo(0, buffer.size(), floats.data());
  return floats;
}

ShardFixture::ShardFixture(const v1::Policy& policy, std::uint64_t elements, Shard::Options shard_options)
    : options(shard_options),
      placement(*Placement::Make(elements, shard_options.num_shards)),
      shard(shard_options, &clock, &executor) {
  const Manifest manifest = *Manifest::FromProto(ZeroManifest(elements));
  snapshot.set_run_id(kRun);
  *snapshot.mutable_policy() = policy;
  *snapshot.mutable_manifest() = manifest.ToProto();
  snapshot.set_model_fingerprint(manifest.fingerprint());
  snapshot.set_block_elements(placement.block_elements());
  snapshot.set_state(v1::TRAINING);
}

v1::Member& ShardFixture::Member(std::uint32_t id, v1::MemberState state, std::uint64_t entry) {
  v1::Member* found = nullptr;
  for (v1::Member& member : *snapshot.mutable_members()) {
    if (member.worker_id() == id) found = &member;
  }
  if (found == nullptr) {
    found = snapshot.add_members();
    found->set_worker_id(id);
    found->set_incarnation(100 + id);
    found->set_rank(id);
  }
  found->set_state(state);
  found->set_entry_clock(entry);
  return *found;
}

void ShardFixture::RemoveMember(std::uint32_t id) {
  for (int i = snapshot.members_size() - 1; i >= 0; --i) {
    if (snapshot.members(i).worker_id() == id) snapshot.mutable_members()->DeleteSubrange(i, 1);
  }
}

absl::Status ShardFixture::Publish() {
  snapshot.set_sequence(snapshot.sequence() + 1);
  snapshot.set_membership_epoch(snapshot.membership_epoch() + 1);
  absl::Status status = shard.ApplySnapshot(snapshot);
  executor.RunAll();
  return status;
}

void ShardFixture::Start(std::uint32_t count) {
  for (std::uint32_t id = 0; id < count; ++id) Member(id);
  Publish().IgnoreError();
}

v1::Stamp ShardFixture::StampOf(std::uint32_t id) const {
  v1::Stamp stamp;
  stamp.set_run_id(kRun);
  stamp.set_worker_id(id);
  stamp.set_incarnation(100 + id);
  stamp.set_membership_epoch(snapshot.membership_epoch());
  for (const v1::Member& member : snapshot.members()) {
    if (member.worker_id() == id) stamp.set_incarnation(member.incarnation());
  }
  return stamp;
}

v1::PullRequest ShardFixture::PullOf(std::uint32_t id, std::uint64_t step, std::uint64_t own,
                                     std::uint32_t wait_millis) const {
  v1::PullRequest request;
  *request.mutable_stamp() = StampOf(id);
  request.set_clock(step);
  request.set_own_clock(own);
  request.mutable_run()->set_first_block(Run().first_block);
  request.mutable_run()->set_num_blocks(Run().num_blocks);
  request.set_wait_millis(wait_millis);
  return request;
}

v1::PushRequest ShardFixture::PushOf(std::uint32_t id, std::uint64_t step, std::uint32_t chunk) const {
  v1::PushRequest request;
  *request.mutable_stamp() = StampOf(id);
  request.set_clock(step);
  request.set_chunk(chunk);
  request.set_chunk_count(placement.ShardChunks(options.index));
  request.mutable_run()->set_first_block(Run(chunk).first_block);
  request.mutable_run()->set_num_blocks(Run(chunk).num_blocks);
  request.set_samples(1);
  request.set_read_generation(options.generation);
  return request;
}

std::shared_ptr<Answer<v1::PullReply>> ShardFixture::Pull(const v1::PullRequest& request) {
  auto answer = std::make_shared<Answer<v1::PullReply>>();
  shard.Pull(EncodeMessage(request), FillIn(answer));
  return answer;
}

std::shared_ptr<Answer<v1::PushReply>> ShardFixture::Push(const v1::PushRequest& request, const Buffer& payload) {
  auto answer = std::make_shared<Answer<v1::PushReply>>();
  shard.Push(EncodeMessage(request, payload), FillIn(answer));
  return answer;
}

std::shared_ptr<Answer<v1::PushReply>> ShardFixture::PushValue(std::uint32_t id, std::uint64_t step, float value) {
  std::shared_ptr<Answer<v1::PushReply>> answer;
  for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(options.index); ++chunk) {
    answer = Push(PushOf(id, step, chunk), Filled(Elements(chunk), value));
  }
  executor.RunAll();
  return answer;
}

std::shared_ptr<Answer<v1::PushReply>> ShardFixture::PushNull(std::uint32_t id, std::uint64_t step,
                                                              v1::Verdict verdict) {
  v1::PushRequest request = PushOf(id, step);
  request.set_chunk_count(1);
  request.clear_run();
  request.set_null_verdict(verdict);
  const auto answer = Push(request, {});
  executor.RunAll();
  return answer;
}

std::shared_ptr<Answer<v1::PushPullReply>> ShardFixture::PushPull(const v1::PushPullRequest& request,
                                                                  const Buffer& payload) {
  auto answer = std::make_shared<Answer<v1::PushPullReply>>();
  shard.PushPull(EncodeMessage(request, payload), FillIn(answer));
  return answer;
}

std::shared_ptr<Answer<v1::WatchRoundReply>> ShardFixture::WatchRound(std::uint32_t id, std::uint64_t round,
                                                                      std::uint32_t wait_millis) {
  v1::WatchRoundRequest request;
  *request.mutable_stamp() = StampOf(id);
  request.set_round(round);
  request.set_wait_millis(wait_millis);
  auto answer = std::make_shared<Answer<v1::WatchRoundReply>>();
  shard.WatchRound(EncodeMessage(request), FillIn(answer));
  return answer;
}

std::shared_ptr<Answer<v1::PutWeightsReply>> ShardFixture::PutWeights(const v1::PutWeightsRequest& request,
                                                                      const Buffer& payload) {
  auto answer = std::make_shared<Answer<v1::PutWeightsReply>>();
  shard.PutWeights(EncodeMessage(request, payload), FillIn(answer));
  return answer;
}

std::vector<float> ShardFixture::Weights(std::uint32_t chunk) { return ToFloats(shard.store()->ReadCopy(Run(chunk))); }

}  // namespace leeway
