#include "server/ps_node.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/files.h"
#include "common/grpc_server.h"
#include "common/grpc_transport.h"
#include "common/local_server.h"
#include "common/local_socket.h"
#include "common/machine.h"
#include "common/mutex.h"
#include "common/random_id.h"
#include "common/run_failure.h"
#include "common/socket.h"
#include "common/status_macros.h"
#include "server/checkpoint_store.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/coordinator_store.h"
#include "server/coordinator/file_coordinator_store.h"
#include "server/coordinator_link.h"
#include "server/drain_shard.h"
#include "server/file_checkpoint_committer.h"
#include "server/foreign_directory.h"
#include "server/own_addresses.h"
#include "server/own_storage.h"
#include "server/ps_part_options.h"
#include "server/ps_routes.h"
#include "server/recover_shard.h"
#include "server/request_metrics.h"
#include "server/shard.h"
#include "server/shard_checkpoints.h"
#include "server/take_up_run.h"

namespace leeway {

class PsNode::Impl {
 public:
  // `go_back`: into this era, instead of what the journal says.
  Impl(const Options& options, std::optional<Era> go_back)
      : options_(options), go_back_(std::move(go_back)), clock_(MakeSystemClock()) {}

  ~Impl() {
    // First everything that is held is answered, then nobody asks any more, then nothing is under way, and
    // only then go the objects.
    if (link_ != nullptr) link_->Stop();
    if (shard_ != nullptr) shard_->Shutdown("this ps ends");
    if (coordinator_ != nullptr) coordinator_->Shutdown("this ps ends");
    if (checkpoints_ != nullptr) checkpoints_->Stop();
    if (own_ != nullptr) own_->Stop();
    if (own_ != nullptr) checkpoint_disk_->Stop();  // it calls by the transport
    if (files_.journal != nullptr) files_.journal->Stop();
    if (state_store_ != nullptr) state_store_->Stop();
    local_server_.reset();
    server_.reset();
    clock_->Stop();
    transport_.reset();
    // They post to one another, so none of them goes before all have stopped.
    for (Executor* executor :
         {apply_.get(), disk_.get(), state_disk_.get(), checkpoint_disk_.get(), store_disk_.get(), control_.get()}) {
      if (executor != nullptr) executor->Stop();
    }
  }

  absl::Status Start() {
    if (!options_.checkpoint_dir.empty()) {
      RETURN_IF_ERROR(OfCheckpointDir(CheckNotForeign(RealFileSystem(), options_.checkpoint_dir)));
    }
    apply_ = MakeThreadPool(options_.threads);
    control_ = MakeThreadPool(1);
    transport_ = MakeGrpcTransport({.security = options_.security});
    if (!options_.checkpoint_dir.empty()) checkpoint_disk_ = MakeThreadPool(1);
    if (options_.own_storage) {
      ASSIGN_OR_RETURN(own_, OwnStorage::Open(options_, &RealFileSystem(), transport_.get()));
      checkpoints_at_ = own_->place();
    }
    const Shard::Options shard = ShardOptionsOf(options_);
    if (options_.shard_index == 0) RETURN_IF_ERROR(OfCheckpointDir(MakeCoordinator(shard.generation)));
    CoordinatorLink::Options link;
    RETURN_IF_ERROR(OfCheckpointDir(MakeShard(shard, &link.lost)));
    link.era = files_.era;
    if (checkpoint_disk_ != nullptr) {
      checkpoints_ = std::make_unique<ShardCheckpoints>(
          ShardCheckpointsOptionsOf(options_, files_.era, checkpoints_at_), &RealFileSystem(), checkpoint_disk_.get(),
          shard_.get(), files_.journal.get());
      shard_->set_cut_sink(checkpoints_.get());
    }
    routes_.Set({options_.shard_index, options_.coordinator, shard_.get(), coordinator_.get(), store_.get()});
    if (coordinator_ != nullptr) coordinator_->Start();  // leases run from here: soon heartbeats can be heard
    v1::LocalEndpoint local;
    if (const std::string host = HostId(); options_.local_sockets && !host.empty()) {
      local.set_host(host);
      local.set_address(absl::StrCat(kLocalScheme, "leeway-", absl::Hex(shard.generation, absl::kZeroPad16)));
    }
    ASSIGN_OR_RETURN(server_, GrpcServer::Start(options_.listen, &requests_, {.security = options_.security}));
    if (!local.address().empty()) {
      ASSIGN_OR_RETURN(local_server_, LocalServer::Start(local.address(), &requests_, options_.security.authorizer));
    }
    ASSIGN_OR_RETURN(const OwnAddresses own, OwnAddressesOf(options_.listen, options_.advertise, server_->port()));
    address_ = own.others;
    link.coordinator = coordinator_address_ = options_.shard_index == 0 ? own.self : options_.coordinator;
    link.address = address_;
    link.local_endpoint = local;
    link.on_drain = [this] { RequestDrain("leeway drain: shutting down"); };
    if (files_.journal != nullptr) link.can_write = [this] { return files_.journal->Ready(); };
    if (own_ == nullptr) link.check = [this] { return CheckShared(RealFileSystem(), options_.checkpoint_dir); };
    link.start_timeout = options_.start_timeout;
    link.give_up_after = options_.give_up_after;
    link_ = std::make_unique<CoordinatorLink>(link, shard_.get(), transport_.get(), clock_.get(), control_.get());
    link_->Start([this](absl::Status status) {
      if (absl::IsAborted(status) && !IsRunFailure(status)) return GoBack(link_->next_era());
      if (IsRunOver(status) && coordinator_ == nullptr && options_.stays()) return Stay(std::move(status));
      End(std::move(status));
    });
    if (own_ != nullptr) own_->Started();
    server_->SetServing(true);
    return absl::OkStatus();
  }

  absl::Status Wait() {
    absl::Status status;
    bool drain = false;
    {
      MutexLock lock(mu_);
      while (!ended_ && !drain_) changed_.Wait(mu_);
      drain = !ended_;
      status = end_;
    }
    if (drain) {
      Drain();
      MutexLock lock(mu_);
      if (!ended_) return absl::OkStatus();
      status = end_;  // training has ended meanwhile
    }
    if (!IsRunOver(status)) return status;
    if (coordinator_ == nullptr || coordinator_->state() != v1::FINISHED) return status;
    if (options_.stays()) spdlog::info(kStays, options_.shard_index, HowRunEnded(status));
    // The other shards are told, and whoever watches reads the last status.
    const auto now = std::chrono::steady_clock::now;
    const auto all_told = now() + std::chrono::seconds(10);
    MutexLock lock(mu_);
    while (!stop_ && !coordinator_->Over() && now() < all_told) {
      changed_.WaitUntil(mu_, now() + std::chrono::milliseconds(50));
    }
    const auto until = now() + absl::ToChronoNanoseconds(std::min(options_.linger, 365 * absl::Hours(24)));
    while (!stop_ && !drain_ && now() < until) changed_.WaitUntil(mu_, until);
    return status.ok() ? coordinator_->last_checkpoint() : status;
  }

  void RequestDrain(const std::string& reason) {
    {
      MutexLock lock(mu_);
      if (!ended_ && !stays_ && !options_.checkpoint_dir.empty() && options_.drain_timeout > absl::ZeroDuration()) {
        if (!std::exchange(drain_, true)) spdlog::info("ps {}: {}", options_.shard_index, reason);
        changed_.NotifyAll();
        return;
      }
    }
    RequestStop(reason);
  }

  void RequestStop(const std::string& reason) {
    {
      MutexLock lock(mu_);
      stop_ = true;
      if (!ended_) spdlog::info("ps {}: {}", options_.shard_index, reason);
    }
    End(absl::OkStatus());
  }

  absl::Status Ready() {
    MutexLock lock(mu_);
    if ((ended_ && !options_.stays()) || stop_ || drain_) return absl::UnavailableError("this ps ends");
    return link_->reached() ? absl::OkStatus() : absl::UnavailableError("waits for ps 0 at " + coordinator_address_);
  }
  const std::string& address() const { return address_; }
  Parts parts() { return {shard_.get(), files_.journal.get(), coordinator_.get(), &requests_}; }

  // After Wait: what this `ps` is to be made anew for, and how: at the port that it has. Not if it is to end.
  std::optional<Era> next_era() {
    MutexLock lock(mu_);
    return drain_ || stop_ ? std::nullopt : next_era_;
  }
  Options options_of_next() const {
    Options options = options_;
    options.listen = absl::StrCat(options.listen.substr(0, options.listen.rfind(':')), ":", server_->port());
    return options;
  }

 private:
  // What an earlier process of this shard has left is taken up. If that cannot be gone on from, `lost` says why, and
  // the shard knows nothing: the coordinator will say what to go back to.
  absl::Status MakeShard(const Shard::Options& options, std::string* lost) {
    shard_ = std::make_unique<Shard>(options, clock_.get(), apply_.get());
    const RecoverOptions recover = RecoverOptionsOf(options_, go_back_, checkpoints_at_);
    if (!recover.journal && !recover.go_back) return absl::OkStatus();
    disk_ = MakeThreadPool(1);
    absl::StatusOr<ShardFiles> files =
        RecoverShard(recover, options, &RealFileSystem(), clock_.get(), disk_.get(), shard_.get());
    if (absl::IsDataLoss(files.status())) {
      *lost = std::string(files.status().message());
      spdlog::error("shard {}: it cannot go on from its files: {}", options.index, *lost);
      shard_ = std::make_unique<Shard>(options, clock_.get(), apply_.get());
      files_.era = go_back_.value_or(Era{});
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(files_, std::move(files));
    return absl::OkStatus();
  }

  // A new run, or the one that --checkpoint_dir holds.
  absl::Status MakeCoordinator(std::uint64_t own_generation) {
    Coordinator::Options coordinator = CoordinatorOptionsOf(options_, RandomId());
    coordinator.own_generation = own_generation;
    CoordinatorStore* store = &no_store_;
    std::optional<FileCoordinatorStore::Saved> saved;
    if (!options_.checkpoint_dir.empty()) {
      state_disk_ = MakeThreadPool(1);
      ASSIGN_OR_RETURN(state_store_, FileCoordinatorStore::Open(options_.checkpoint_dir, &RealFileSystem(),
                                                                clock_.get(), state_disk_.get()));
      store_disk_ = MakeThreadPool(1);
      store_ = std::make_unique<CheckpointStore>(options_.checkpoint_dir, &RealFileSystem(), store_disk_.get());
      committer_ = std::make_unique<FileCheckpointCommitter>(options_.checkpoint_dir, options_.checkpoint_keep,
                                                             &RealFileSystem(), checkpoint_disk_.get(), store_.get());
      coordinator.committer = committer_.get();
      store = state_store_.get();
      std::optional<FileCoordinatorStore::Saved> earlier = state_store_->TakeSaved();
      const bool knows_manifest = earlier.has_value();
      ASSIGN_OR_RETURN(saved, TakeUpRun(RealFileSystem(), options_.checkpoint_dir, options_.num_shards, earlier));
      if (saved && !knows_manifest) state_store_->SetManifest(saved->manifest);
    }
    if (saved) coordinator.run_id = saved->state.run_id();
    if (saved && options_.stays() && saved->state.run_state() == v1::FINISHED) {  // it is told once more, and stays
      saved->state.mutable_shards(0)->set_acknowledged(0);
    }
    coordinator.on_go_back = [this](std::uint64_t era, const std::string& base) { GoBack({era, base}); };
    coordinator_ = std::make_unique<Coordinator>(coordinator, clock_.get(), control_.get(), store);
    if (!saved) return absl::OkStatus();
    return coordinator_->Restore(saved->state, saved->manifest);
  }

  // Blocks, for drain_timeout at most.
  void Drain() {
    server_->SetServing(false);
    const DrainOptions drain{options_.shard_index, coordinator_address_, options_.journal != Options::JournalMode::kOff,
                             options_.drain_timeout};
    DrainShard(drain, shard_.get(), *transport_, [this] {
      MutexLock lock(mu_);
      return ended_;
    });
  }

  static constexpr char kStays[] = "ps {}: {}; it stays until it is told to go (--linger=inf)";
  void Stay(absl::Status run) {
    MutexLock lock(mu_);
    stays_ = true;  // with nothing to drain
    spdlog::info(kStays, options_.shard_index, HowRunEnded(run));
    end_ = std::move(run);
  }

  absl::Status OfCheckpointDir(const absl::Status& status) const {
    if (status.ok()) return status;
    return absl::Status(status.code(),
                        absl::StrCat("--checkpoint_dir=", options_.checkpoint_dir, ": ", status.message()));
  }

  void End(absl::Status status) {
    MutexLock lock(mu_);
    if (!ended_ && !stays_) end_ = std::move(status);
    ended_ = true;
    changed_.NotifyAll();
  }

  void GoBack(const Era& era) {
    {
      MutexLock lock(mu_);
      if (!ended_ && !next_era_) next_era_ = era;
    }
    End(absl::OkStatus());
  }

  const Options options_;
  const std::optional<Era> go_back_;
  std::string address_;
  std::string coordinator_address_;
  const std::unique_ptr<Clock> clock_;
  PsRoutes routes_;
  RequestMetrics requests_{&routes_, clock_.get()};
  VolatileCoordinatorStore no_store_;
  std::unique_ptr<Executor> apply_;       // gradients
  std::unique_ptr<Executor> control_;     // one thread: the link, the coordinator's timers
  std::unique_ptr<Executor> disk_;        // one thread: the journal
  std::unique_ptr<Executor> state_disk_;  // one thread: the coordinator's state, which must not wait for the journal
  std::unique_ptr<Executor> checkpoint_disk_;  // one thread: checkpoints
  std::unique_ptr<Executor> store_disk_;       // one thread: checkpoints of other shards
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<OwnStorage> own_;  // null: --checkpoint_dir is shard 0's folder
  CheckpointPlace checkpoints_at_;
  ShardFiles files_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<ShardCheckpoints> checkpoints_;
  std::unique_ptr<CheckpointStore> store_;  // of shard 0; null: it keeps no checkpoints
  std::unique_ptr<CheckpointCommitter> committer_;
  std::unique_ptr<FileCoordinatorStore> state_store_;  // null: no_store_ is used
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<CoordinatorLink> link_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<LocalServer> local_server_;  // null: none

  Mutex mu_;
  CondVar changed_;
  bool ended_ LEEWAY_GUARDED_BY(mu_) = false;
  bool stays_ LEEWAY_GUARDED_BY(mu_) = false;
  bool stop_ LEEWAY_GUARDED_BY(mu_) = false;
  std::optional<Era> next_era_ LEEWAY_GUARDED_BY(mu_);
  bool drain_ LEEWAY_GUARDED_BY(mu_) = false;
  absl::Status end_ LEEWAY_GUARDED_BY(mu_);
};

absl::StatusOr<std::unique_ptr<PsNode>> PsNode::Start(const Options& options) {
  if (options.shard_index >= options.num_shards) {
    return absl::InvalidArgumentError(absl::StrCat("--shard_index=", options.shard_index, ": allowed: 0 to ",
                                                   options.num_shards - 1, " (--num_shards=", options.num_shards, ")"));
  }
  auto impl = std::make_unique<Impl>(options, std::nullopt);
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<PsNode>(new PsNode(std::move(impl)));
}

PsNode::PsNode(std::unique_ptr<Impl> impl) : address_(impl->address()), impl_(std::move(impl)) {}
PsNode::~PsNode() = default;
const std::string& PsNode::address() const { return address_; }

absl::Status PsNode::Wait() {
  for (;;) {
    Impl* now = nullptr;
    {
      MutexLock lock(mu_);
      now = impl_.get();
    }
    const absl::Status status = now->Wait();
    const std::optional<Era> next = now->next_era();
    if (!next) return status;
    Options options = now->options_of_next();
    options.told_to_end = [this] { return stop_.load(); };
    std::unique_ptr<Impl> before;
    {
      MutexLock lock(mu_);
      if (stop_) return status;
      before = std::move(impl_);
    }
    before.reset();  // its port and its files are free now
    auto impl = std::make_unique<Impl>(options, next);
    spdlog::info("ps {}: goes back to {}", options.shard_index, next->base);
    const absl::Status started = impl->Start();
    MutexLock lock(mu_);
    if (stop_ && absl::IsCancelled(started)) return absl::OkStatus();
    RETURN_IF_ERROR(started);
    impl_ = std::move(impl);
    if (stop_) return absl::OkStatus();
  }
}

void PsNode::RequestStop(const std::string& reason) {
  MutexLock lock(mu_);
  stop_ = true;
  if (impl_ != nullptr) impl_->RequestStop(reason);
}

void PsNode::RequestDrain(const std::string& reason) {
  MutexLock lock(mu_);
  stop_ = true;
  if (impl_ != nullptr) impl_->RequestDrain(reason);
}

void PsNode::Look(const std::function<void(const Parts&)>& at) {
  MutexLock lock(mu_);
  if (impl_ != nullptr) at(impl_->parts());
}

absl::Status PsNode::Ready() {
  MutexLock lock(mu_);
  return impl_ == nullptr ? absl::UnavailableError("goes back to a checkpoint") : impl_->Ready();
}

std::shared_ptr<BlockStore> PsNode::store() {
  MutexLock lock(mu_);
  return impl_ == nullptr ? nullptr : impl_->parts().shard->store();
}

}  // namespace leeway
