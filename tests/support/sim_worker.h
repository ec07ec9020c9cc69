// SimWorker: a scripted worker of the simulated cluster. It speaks the protocol of docs/protocol.md as a real one does
// (joins, leases data, pulls, opens tickets, pushes, commits, leaves, retries) with a gradient that can be counted: 1
// at the element of its life's slot in every block, 0 elsewhere. At rate 1 the weight there is minus the number of its
// pushes that were applied. Every push and every pull is in some encoding; these numbers survive them all.
//
// In rounds with a quorum it watches its round's close, and gives up what has not left then.
//
// What became of the push under way when a life ends, is asked for afterwards, as a worker does whose lease ran out.
//
// Thread safety: none. Ownership: what it is given outlives it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/manifest.h"
#include "common/placement.h"
#include "common/retry.h"
#include "common/rpc.h"
#include "proto/coordinator.pb.h"
#include "proto/parameter_server.pb.h"
#include "tests/support/fake_clock.h"
#include "tests/support/random.h"
#include "tests/support/sim_member.h"
#include "tests/support/sim_network.h"

namespace leeway {

// What one incarnation has done, as it knows it: what the checkers compare the shards with.
struct SimLife {
  struct Push {
    bool null = false;                              // it adds nothing: a null push, or one that is not finite
    std::map<std::uint32_t, v1::Verdict> verdicts;  // by shard; missing: in doubt
  };
  std::string name;
  std::uint32_t slot = 0;
  std::uint64_t incarnation = 0;
  std::uint32_t worker_id = 0;
  std::uint32_t rank = 0;
  std::uint64_t entry = 0;  // the first step since it became live (again)
  bool joined = false;
  bool over = false;
  std::map<std::uint64_t, Push> pushes;  // by step
  std::uint64_t resolved = 0;            // pushes whose verdict was learned after its end
  std::uint64_t deltas = 0;              // pulls that were answered with a difference
  std::uint64_t given_up = 0;            // steps whose round had closed before all of the push had left
};

class SimWorker final : public SimMember {
 public:
  struct Options {
    std::string name;
    std::string coordinator;
    absl::Duration mean_step = absl::Milliseconds(20);
    std::uint32_t samples = 2;
    std::uint64_t num_records = 100;
    double null_chance = 0;                   // of a step whose gradient turns out to be worth nothing
    std::optional<std::uint64_t> sick_after;  // so many steps, all of its gradients hold a NaN
    bool differences = true;                  // it pulls in INT8, too
  };
  // Every life that there has been. A slot is an index into it.
  using Lives = std::vector<std::unique_ptr<SimLife>>;
  // Called with the weights of every pull, as the worker has them.
  using OnPull = std::function<void(const SimLife& life, std::uint32_t shard, const v1::PullRequest& request,
                                    const v1::PullReply& reply, const std::vector<float>& weights)>;

  SimWorker(const Options& options, const Manifest& manifest, FakeClock* clock, Random* random, SimNetwork* network,
            Lives* lives, OnPull on_pull);

  void Start() override;
  void Kill() override;
  void Preempt() override { preempted_ = true; }
  bool preempted() const override { return preempted_; }
  const std::string& name() const override { return options_.name; }
  bool running() const override { return life_ != nullptr; }
  bool joined() const override { return life_ != nullptr && life_->joined; }
  bool finished() const override { return finished_; }
  bool quarantined() const override { return quarantined_; }
  const std::string& error() const override { return error_; }

 private:
  static constexpr absl::Duration kTimeout = absl::Seconds(4);  // above the 2 s that it lets servers hold its requests
  static constexpr absl::Duration kAgain = absl::Milliseconds(20);

  template <typename Reply>
  using Handler = std::function<void(const Reply&, const Buffer&)>;
  using OnError = std::function<void(const absl::Status&)>;

  // Calls until it is answered. `handle` may Again() to be asked once more.
  template <typename Reply>
  void Ask(const std::string& address, const std::string& method, const google::protobuf::Message& request,
           const Buffer& payload, Handler<Reply> handle, OnError on_error = nullptr);
  void Later(absl::Duration delay, std::function<void()> fn);
  void Fail(const std::string& what, const absl::Status& status);
  void Rejoin();
  void Join();
  void OnJoin(const v1::JoinReply& reply);
  void Heartbeat();
  void NextStep();
  void Acquire();
  void Pull();
  void PullFrom(std::uint32_t shard);
  void OnPulled();
  void OpenPush();
  void Push(const v1::Ticket& ticket, bool null);
  void PushTo(std::uint32_t shard, const v1::Ticket& ticket, bool null, v1::Encoding encoding);
  void Commit();
  void Leave();
  v1::Stamp StampNow() const;
  bool sick() const { return options_.sick_after && steps_ >= *options_.sick_after; }
  std::vector<float> Gradient(std::uint32_t shard);
  bool TakePolicy(std::uint32_t shard, const v1::PullRequest& request, const v1::PullReply& reply);
  bool TakeWeights(std::uint32_t shard, const v1::PullReply& reply, const Buffer& payload);
  // sim_worker_ends.cc
  bool MayMissRound() const;  // its rounds may close without it
  void WatchRound();
  void GiveUp(std::uint64_t open_round);
  // Asks, for as long as it takes, what `shard` did with the push `bytes` of `step`.
  void Resolve(SimLife* life, std::uint64_t step, std::uint32_t shard, const Buffer& bytes);

  const Options options_;
  const Manifest manifest_;
  FakeClock* const clock_;
  Random* const random_;
  Lives* const lives_;
  const OnPull on_pull_;
  const std::unique_ptr<Transport> transport_;

  SimLife* life_ = nullptr;
  bool preempted_ = false;
  bool finished_ = false;
  bool quarantined_ = false;
  std::uint64_t steps_ = 0;  // of all its lives
  std::string error_;
  // Of this life.
  v1::Policy policy_;                      // the newest that it has heard of
  std::optional<v1::Policy> step_policy_;  // that its step is under, once a shard has said so
  std::uint64_t run_id_ = 0;
  std::uint64_t epoch_ = 0;
  absl::Duration lease_;
  std::vector<std::string> shards_;
  std::optional<Placement> placement_;
  std::uint64_t step_ = 0;
  std::uint64_t open_round_ = 0;
  std::uint64_t acquire_number_ = 0;
  std::optional<v1::DataRange> range_;
  std::uint32_t waiting_for_ = 0;  // replies of shards
  std::map<std::uint32_t, std::uint64_t> read_version_;
  std::uint64_t read_serial_ = 0;
  std::uint64_t pulls_ = 0;
  struct Copy {
    std::vector<float> weights;
    std::uint64_t sequence = 0;
  };
  std::map<std::uint32_t, Copy> copies_;  // by shard: what it has
  std::map<std::uint32_t, Buffer> sent_;  // by shard: the push under way
  std::set<std::uint32_t> unsent_;        // shards that the step's push has not been sent to
  std::map<std::uint32_t, v1::Journaled> journaled_;
};

}  // namespace leeway
