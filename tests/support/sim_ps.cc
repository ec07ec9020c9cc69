#include "tests/support/sim_ps.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace leeway {

SimPs::SimPs(std::uint32_t index, std::uint32_t num_shards, const v1::Policy& policy, FakeClock* clock, Random* random,
             SimNetwork* network, CrashFiles* files, bool fsync)
    : apply_(clock, random),
      control_(clock, random),
      disk_(clock, random),
      files_(files),
      transport_(network->Connect(absl::StrCat("ps", index))) {
  Shard::Options shard;
  shard.index = index;
  shard.num_shards = num_shards;
  shard.generation = random->Bits() | 1;
  shard_ = std::make_unique<Shard>(shard, clock, &apply_);
  if (files != nullptr) {
    absl::StatusOr<ShardFiles> recovered =
        RecoverShard({.checkpoint_dir = "checkpoints", .fsync = fsync}, shard, files, clock, &disk_, shard_.get());
    started_ = recovered.status();
    if (!recovered.ok()) return;
    storage_ = *std::move(recovered);
  }
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

void SimPs::Handle(const std::string& method, Buffer request, ReplyCallback reply_to) {
  const ReplyCallback done = [this, reply_to = std::move(reply_to)](absl::Status status, Buffer reply) {
    if (killed_) return reply_to(absl::UnavailableError("the connection is broken"), {});
    reply_to(std::move(status), std::move(reply));
  };
  const std::string name = method.substr(method.find('/') + 1);
  if (absl::StartsWith(method, "Coordinator/")) return coordinator_->Handle(name, request, done);
  if (name == "Pull") return shard_->Pull(request, done);
  if (name == "Push") return shard_->Push(request, done);
  if (name == "PushPull") return shard_->PushPull(request, done);
  if (name == "PutWeights") return shard_->PutWeights(request, done);
  done(absl::UnimplementedError(method), {});
}

void SimPs::Kill(CrashFiles::Loss loss) {
  killed_ = true;
  files_->Restart(loss);
  Stop();
}

void SimPs::Stop() {
  if (link_ != nullptr) link_->Stop();
  shard_->Shutdown("the simulation is over");
  if (storage_.journal != nullptr) storage_.journal->Stop();
  if (coordinator_ != nullptr) coordinator_->Shutdown("the simulation is over");
}

}  // namespace leeway
