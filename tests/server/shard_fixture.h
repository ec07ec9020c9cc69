// ShardFixture: one shard with a fake clock and an executor that the test pumps, the snapshots that a coordinator
// would send it, and requests as workers send them.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/manifest.h"
#include "common/placement.h"
#include "server/shard.h"
#include "tests/support/answer.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"

namespace leeway {

inline constexpr std::uint64_t kRun = 0xabc;
inline constexpr std::uint64_t kSmall = 10000;              // elements: blocks of 4096, 4096 and 1808
inline constexpr std::uint64_t kLarge = (1u << 20) + 5000;  // elements: two chunks on one shard

// One tensor of zeros.
v1::Manifest ZeroManifest(std::uint64_t elements);

// SGD at rate 1 with this bound: a push of integers subtracts exactly them.
v1::Policy ExactPolicy(std::int64_t bound, v1::Aggregation aggregation = v1::EACH);

// `count` floats of this value.
Buffer Filled(std::uint64_t count, float value);
std::vector<float> ToFloats(const Buffer& buffer);

class ShardFixture {
 public:
  explicit ShardFixture(const v1::Policy& policy, std::uint64_t elements = kSmall, Shard::Options options = {});

  // A member of the next snapshot. Its incarnation is 100 + id unless given, its rank its id.
  v1::Member& Member(std::uint32_t id, v1::MemberState state = v1::LIVE, std::uint64_t entry = 0);
  void RemoveMember(std::uint32_t id);
  // Sends the next snapshot.
  absl::Status Publish();
  // Members 0 .. count-1 are live; published.
  void Start(std::uint32_t count);

  v1::Stamp StampOf(std::uint32_t id) const;
  v1::PullRequest PullOf(std::uint32_t id, std::uint64_t clock, std::uint64_t own, std::uint32_t wait_millis = 0) const;
  v1::PushRequest PushOf(std::uint32_t id, std::uint64_t clock, std::uint32_t chunk = 0) const;

  std::shared_ptr<Answer<v1::PullReply>> Pull(const v1::PullRequest& request);
  std::shared_ptr<Answer<v1::PushReply>> Push(const v1::PushRequest& request, const Buffer& payload);
  // A push of `value` in every element, carried out.
  std::shared_ptr<Answer<v1::PushReply>> PushValue(std::uint32_t id, std::uint64_t clock, float value = 1);
  std::shared_ptr<Answer<v1::PushReply>> PushNull(std::uint32_t id, std::uint64_t clock, v1::Verdict verdict);
  std::shared_ptr<Answer<v1::PushPullReply>> PushPull(const v1::PushPullRequest& request, const Buffer& payload);
  // Member `id` asks for the end of this round.
  std::shared_ptr<Answer<v1::WatchRoundReply>> WatchRound(std::uint32_t id, std::uint64_t round,
                                                          std::uint32_t wait_millis = 9000);
  std::shared_ptr<Answer<v1::PutWeightsReply>> PutWeights(const v1::PutWeightsRequest& request, const Buffer& payload);

  // The elements of a run.
  std::uint64_t Elements(std::uint32_t chunk = 0) const { return placement.RunElements(Run(chunk)); }
  ChunkRun Run(std::uint32_t chunk = 0) const { return placement.Chunk(options.index, chunk); }
  std::vector<float> Weights(std::uint32_t chunk = 0);
  v1::ShardStats Stats() { return shard.Describe().stats(); }

  const Shard::Options options;
  const Placement placement;
  FakeClock clock;
  PumpedExecutor executor;
  Shard shard;
  v1::WatchReply snapshot;
};

}  // namespace leeway
