// FakeCluster: a coordinator and shards in one object behind an in-process Transport, with the behaviour of
// docs/protocol.md reduced to what a worker can see: weights that SGD moves, clocks, leases of data, verdicts,
// encodings. Tests read what it recorded and script what should go wrong.
//
// Thread safety: any thread. Replies are given in line; a held pull is answered by whatever opens its gate.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "common/placement.h"
#include "common/rpc.h"
#include "common/transport.h"
#include "proto/coordinator.pb.h"
#include "proto/parameter_server.pb.h"

namespace leeway {

class FakeCluster : public Transport {
 public:
  static constexpr char kCoordinatorAddress[] = "coordinator:1";

  // What the test scripts. A hook that returns an error, or fills the reply and returns true, replaces the behaviour.
  struct Script {
    // Called for every request, before all else; an error is the answer. Must not block.
    std::function<absl::Status(const std::string& address, const std::string& method)> fail;
    // True: the request is carried out, but its answer is lost.
    std::function<bool(const std::string& method)> lose;
    // The verdict of a chunk; VERDICT_NONE: as it comes (APPLIED).
    std::function<v1::Verdict(const v1::PushRequest&)> verdict;
    std::function<absl::StatusOr<v1::Ticket>(const v1::OpenPushRequest&)> ticket;
    std::function<bool(const v1::PullRequest&)> gate;  // false: not_yet
    // The round that is open, for who watches one; null: no such method.
    std::function<std::uint64_t(const v1::WatchRoundRequest&)> open_round;
    // What the pull's step is under; null: what its stamp names.
    std::function<const v1::Policy*(const v1::PullRequest&)> policy;
    std::function<v1::Verdict(const v1::PullRequest&)> last_push;
  };

  FakeCluster(std::uint64_t elements, std::uint32_t num_shards, v1::Policy policy, std::uint64_t num_records);

  void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
            ReplyCallback done) override;

  // The end of a round: what was held for it is applied, or forgotten.
  void CloseRound(std::uint64_t round, bool counted) LEEWAY_REQUIRES(mu);

  Mutex mu;
  Script script LEEWAY_GUARDED_BY(mu);
  v1::JoinReply join LEEWAY_GUARDED_BY(mu);
  v1::RunState state LEEWAY_GUARDED_BY(mu) = v1::TRAINING;
  bool drain LEEWAY_GUARDED_BY(mu) = false;   // its workers are to leave
  std::string failure LEEWAY_GUARDED_BY(mu);  // of the run: what who leaves is told
  std::vector<float> weights LEEWAY_GUARDED_BY(mu);
  float rate LEEWAY_GUARDED_BY(mu) = 0.1f;
  std::deque<v1::DataRange> ranges LEEWAY_GUARDED_BY(mu);  // to hand out; FINISHING when all are committed
  std::uint64_t version LEEWAY_GUARDED_BY(mu) = 0;
  std::set<std::uint64_t> expired LEEWAY_GUARDED_BY(mu);  // incarnations that are no members any more

  // What came.
  std::map<std::string, int> calls LEEWAY_GUARDED_BY(mu);                // by method
  std::map<std::string, absl::Duration> timeouts LEEWAY_GUARDED_BY(mu);  // by method, of the last call
  std::vector<v1::JoinRequest> joins LEEWAY_GUARDED_BY(mu);
  std::vector<v1::PullRequest> pulls LEEWAY_GUARDED_BY(mu);
  std::vector<v1::PushRequest> pushes LEEWAY_GUARDED_BY(mu);  // in the order of arrival, without payloads
  std::vector<v1::WatchRoundRequest> watches LEEWAY_GUARDED_BY(mu);
  std::vector<std::pair<v1::AcquireDataRequest, bool>> acquires LEEWAY_GUARDED_BY(mu);  // and: it got a range
  std::vector<v1::CommitDataRequest> commits LEEWAY_GUARDED_BY(mu);
  std::vector<v1::HeartbeatRequest> heartbeats LEEWAY_GUARDED_BY(mu);
  std::vector<v1::ReportProgressRequest> reports LEEWAY_GUARDED_BY(mu);
  std::vector<v1::LeaveRequest> leaves LEEWAY_GUARDED_BY(mu);
  std::uint64_t committed LEEWAY_GUARDED_BY(mu) = 0;                       // records
  std::vector<double> applied LEEWAY_GUARDED_BY(mu);                       // the sum of the gradients that were applied
  std::map<std::uint32_t, std::uint64_t> journaled LEEWAY_GUARDED_BY(mu);  // by shard: what its answers say
  std::uint64_t push_bytes LEEWAY_GUARDED_BY(mu) = 0;                      // of whole Push requests, as they came
  std::uint64_t deltas_given LEEWAY_GUARDED_BY(mu) = 0;                    // pulls answered with a difference

 private:
  using Answer = std::pair<absl::Status, Buffer>;
  Answer Handle(const std::string& address, const std::string& method, const Buffer& request) LEEWAY_REQUIRES(mu);
  Answer Pull(const Buffer& request) LEEWAY_REQUIRES(mu);
  Buffer PullPayload(const v1::PullRequest& request, v1::PullReply* reply) LEEWAY_REQUIRES(mu);
  Answer Push(std::uint32_t shard, const Buffer& request) LEEWAY_REQUIRES(mu);
  void Apply(const v1::BlockRun& run, const std::vector<float>& gradient) LEEWAY_REQUIRES(mu);
  Answer Acquire(const Buffer& request) LEEWAY_REQUIRES(mu);
  Answer Commit(const Buffer& request) LEEWAY_REQUIRES(mu);
  absl::Status CheckStamp(const v1::Stamp& stamp) LEEWAY_REQUIRES(mu);

  const Placement placement_;
  const std::uint64_t num_records_;
  std::uint64_t next_lease_ LEEWAY_GUARDED_BY(mu) = 1;
  // The verdicts on the chunks (shard, chunk) of the pushes (incarnation, clock).
  using Verdicts = std::map<std::pair<std::uint32_t, std::uint32_t>, v1::Verdict>;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Verdicts> chunks_ LEEWAY_GUARDED_BY(mu);
  std::multimap<std::uint64_t, std::pair<v1::BlockRun, std::vector<float>>> held_ LEEWAY_GUARDED_BY(mu);  // by round
  struct Delta {
    std::uint64_t sequence = 0;
    std::vector<float> seen;
  };
  // What an incarnation has of the chunk that begins with a block.
  std::map<std::pair<std::uint64_t, std::uint64_t>, Delta> deltas_ LEEWAY_GUARDED_BY(mu);
};

}  // namespace leeway
