#include "tests/support/sim_ps.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/run_failure.h"
#include "common/status_macros.h"
#include "server/take_up_run.h"

namespace leeway {

SimPs::SimPs(const Options& options, FakeClock* clock, Random* random, SimNetwork* network, CrashFiles* files,
             Waiter* waiter)
    : options_(options),
      clock_(clock),
      random_(random),
      network_(network),
      apply_(clock, random),
      control_(clock, random),
      disk_(clock, random),
      state_disk_(clock, random),
      checkpoint_disk_(clock, random),
      store_disk_(clock, random),
      files_(files),
      waiter_(waiter),
      process_(files == nullptr ? nullptr : files->NewProcess()),
      transport_(network->Connect(absl::StrCat("ps", options.index))) {}

void SimPs::Start() {
  started_ = MakeParts();
  if (!started_.ok() || waits_end_) return;
  CoordinatorLink::Options link;
  link.coordinator = "ps0";
  link.address = absl::StrCat("ps", options_.index);
  link.era = storage_.era;
  link.lost = lost_;
  link_ = std::make_unique<CoordinatorLink>(link, shard_.get(), transport_.get(), clock_, &control_);
  network_->Serve(link.address, this);
  link_->Start([this](absl::Status status) {
    if (absl::IsAborted(status) && !IsRunFailure(status)) {
      next_era_ = link_->next_era();
    } else {
      end_ = std::move(status);
    }
  });
  if (own_ != nullptr) own_->Started();
}

absl::Status SimPs::MakeParts() {
  Shard::Options shard;
  shard.index = options_.index;
  shard.num_shards = options_.num_shards;
  shard.generation = random_->Bits() | 1;
  if (waiter_ != nullptr) {
    PsOptions own;
    own.shard_index = options_.index;
    own.coordinator = "ps0";
    own.checkpoint_dir = kDirectory;
    own.told_to_end = [this] { return waits_end_; };
    ASSIGN_OR_RETURN(own_, OwnStorage::Open(own, process_.get(), transport_.get(), waiter_));
    checkpoints_at_ = own_->place();
  }
  if (options_.index == 0) RETURN_IF_ERROR(MakeCoordinator(shard.generation));
  RETURN_IF_ERROR(MakeShard(shard));
  if (process_ != nullptr) {
    ShardCheckpoints::Options checkpoints{kDirectory, options_.index, options_.num_shards, storage_.era};
    checkpoints.checkpoints = checkpoints_at_;
    checkpoints_ = std::make_unique<ShardCheckpoints>(checkpoints, process_.get(), &checkpoint_disk_, shard_.get(),
                                                      storage_.journal.get());
    shard_->set_cut_sink(checkpoints_.get());
  }
  if (coordinator_ != nullptr) coordinator_->Start();
  return absl::OkStatus();
}

absl::Status SimPs::MakeShard(const Shard::Options& shard) {
  shard_ = std::make_unique<Shard>(shard, clock_, &apply_);
  if (process_ == nullptr || (!options_.journal && !options_.go_back)) return absl::OkStatus();
  RecoverOptions recover{.checkpoint_dir = kDirectory, .journal = options_.journal, .fsync = options_.fsync};
  recover.go_back = options_.go_back;
  recover.checkpoints = checkpoints_at_;
  absl::StatusOr<ShardFiles> files = RecoverShard(recover, shard, process_.get(), clock_, &disk_, shard_.get());
  if (absl::IsDataLoss(files.status())) {
    lost_ = std::string(files.status().message());
    shard_ = std::make_unique<Shard>(shard, clock_, &apply_);
    storage_.era = options_.go_back.value_or(Era{});
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(storage_, std::move(files));
  return absl::OkStatus();
}

absl::Status SimPs::MakeCoordinator(std::uint64_t generation) {
  Coordinator::Options coordinator;
  coordinator.policy = options_.policy;
  coordinator.num_shards = options_.num_shards;
  coordinator.run_id = random_->Bits() | 1;
  coordinator.lease = kLease;
  coordinator.own_generation = generation;
  coordinator.abandon_timeout = options_.abandon_timeout;
  coordinator.on_go_back = [this](std::uint64_t era, const std::string& base) { next_era_ = {era, base}; };
  CoordinatorStore* store = &no_store_;
  std::optional<FileCoordinatorStore::Saved> saved;
  if (process_ != nullptr) {
    ASSIGN_OR_RETURN(store_, FileCoordinatorStore::Open(kDirectory, process_.get(), clock_, &state_disk_));
    checkpoint_store_ = std::make_unique<CheckpointStore>(kDirectory, process_.get(), &store_disk_);
    committer_ = std::make_unique<FileCheckpointCommitter>(kDirectory, options_.checkpoint_keep, process_.get(),
                                                           &checkpoint_disk_, checkpoint_store_.get());
    if (options_.checkpoint_steps > 0) coordinator.committer = committer_.get();
    coordinator.checkpoint_steps = options_.checkpoint_steps;
    store = store_.get();
    std::optional<FileCoordinatorStore::Saved> earlier = store_->TakeSaved();
    const bool knows_manifest = earlier.has_value();
    ASSIGN_OR_RETURN(saved, TakeUpRun(*process_, kDirectory, options_.num_shards, earlier));
    if (saved && !knows_manifest) store_->SetManifest(saved->manifest);
  }
  if (saved) coordinator.run_id = saved->state.run_id();
  coordinator_ = std::make_unique<Coordinator>(coordinator, clock_, &control_, store);
  return saved ? coordinator_->Restore(saved->state, saved->manifest) : absl::OkStatus();
}

void SimPs::Handle(const std::string& method, Buffer request, ReplyCallback reply_to) {
  const ReplyCallback done = [this, reply_to = std::move(reply_to)](absl::Status status, Buffer reply) {
    if (killed_) return reply_to(absl::UnavailableError("the connection is broken"), {});
    reply_to(std::move(status), std::move(reply));
  };
  const std::string name = method.substr(method.find('/') + 1);
  if (absl::StartsWith(method, "Coordinator/")) return coordinator_->Handle(name, request, done);
  if (absl::StartsWith(method, "CheckpointStore/") && checkpoint_store_ != nullptr) {
    return checkpoint_store_->Handle(name, request, done);
  }
  if (name == "Pull") return shard_->Pull(request, done);
  if (name == "Push") return shard_->Push(request, done);
  if (name == "PushPull") return shard_->PushPull(request, done);
  if (name == "PutWeights") return shard_->PutWeights(request, done);
  if (name == "WatchRound") return shard_->WatchRound(request, done);
  done(absl::UnimplementedError(method), {});
}

void SimPs::Kill(CrashFiles::Loss loss) {
  killed_ = true;
  files_->Restart(loss);
  Stop();
}

void SimPs::EndWaits() {
  waits_end_ = true;
  if (own_ != nullptr) own_->Stop();
  if (checkpoints_ != nullptr) checkpoints_->Stop();
}

void SimPs::Stop() {
  EndWaits();
  if (link_ != nullptr) link_->Stop();
  if (shard_ != nullptr) shard_->Shutdown("the simulation is over");
  if (coordinator_ != nullptr) coordinator_->Shutdown("the simulation is over");
  if (storage_.journal != nullptr) storage_.journal->Stop();
  if (store_ != nullptr) store_->Stop();
}

}  // namespace leeway
