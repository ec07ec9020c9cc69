#include "tests/support/sim_ps.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace leeway {

SimPs::SimPs(std::uint32_t index, std::uint32_t num_shards, const v1::Policy& policy, FakeClock* clock, Random* random,
             SimNetwork* network)
    : apply_(clock, random), control_(clock, random), transport_(network->Connect(absl::StrCat("ps", index))) {
  Shard::Options shard;
  shard.index = index;
  shard.num_shards = num_shards;
  shard.generation = random->Bits() | 1;
  shard_ = std::make_unique<Shard>(shard, clock, &apply_);
  if (index == 0) {
    Coordinator::Options coordinator;
    coordinator.policy = policy;
    coordinator.num_shards = num_shards;
    coordinator.run_id = random->Bits() | 1;
    coordinator.lease = kLease;
    coordinator_ = std::make_unique<Coordinator>(coordinator, clock, &control_, &store_);
    coordinator_->Start();
  }
  CoordinatorLink::Options link;
  link.coordinator = "ps0";
  link.address = absl::StrCat("ps", index);
  link_ = std::make_unique<CoordinatorLink>(link, shard_.get(), transport_.get(), clock, &control_);
  network->Serve(link.address, this);
  link_->Start([this](absl::Status status) { end_ = std::move(status); });
}

void SimPs::Handle(const std::string& method, Buffer request, ReplyCallback done) {
  const std::string name = method.substr(method.find('/') + 1);
  if (absl::StartsWith(method, "Coordinator/")) return coordinator_->Handle(name, request, std::move(done));
  if (name == "Pull") return shard_->Pull(request, std::move(done));
  if (name == "Push") return shard_->Push(request, std::move(done));
  if (name == "PushPull") return shard_->PushPull(request, std::move(done));
  if (name == "PutWeights") return shard_->PutWeights(request, std::move(done));
  done(absl::UnimplementedError(method), {});
}

void SimPs::Stop() {
  link_->Stop();
  shard_->Shutdown("the simulation is over");
  if (coordinator_ != nullptr) coordinator_->Shutdown("the simulation is over");
}

}  // namespace leeway
