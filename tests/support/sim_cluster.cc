#include "tests/support/sim_cluster.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/support/answer.h"

namespace leeway {
namespace {

v1::Manifest Zeros(std::uint64_t elements) {
  v1::Manifest manifest;
  manifest.set_model("zeros");
  v1::TensorSpec& spec = *manifest.add_tensors();
  spec.set_name("w");
  spec.add_shape(static_cast<std::int64_t>(elements));
  return manifest;
}

}  // namespace

SimCluster::SimCluster(const Options& options)
    : options_(options),
      manifest_(*Manifest::FromProto(Zeros(kElements))),
      placement_(*Placement::Make(kElements, options.shards)),
      random_(options.seed),
      network_(&clock_, &random_, options.faults) {
  spdlog::set_level(spdlog::level::off);
  network_.set_probe([this](const std::string& address, const std::string& method, const Buffer& request,
                            const absl::Status& status,
                            const Buffer& reply) { OnReply(address, method, request, status, reply); });
  ps_.resize(options.shards);
  for (std::uint32_t index = 0; index < options.shards; ++index) {
    files_.push_back(std::make_unique<CrashFiles>(random_.Bits()));
    StartPs(index);
  }
  for (std::uint32_t i = 0; i < options.workers; ++i) {
    SimWorker::Options worker;
    worker.name = absl::StrCat("w", i);
    worker.coordinator = "ps0";
    worker.mean_step = absl::Milliseconds(5 + static_cast<std::int64_t>(random_.Below(60)));
    worker.num_records = options.num_records;
    worker.null_chance = options.null_chance;
    if (options.policy.aggregation() == v1::ROUND) worker.samples = 1 + i;
    workers_.push_back(std::make_unique<SimWorker>(
        worker, manifest_, &clock_, &random_, &network_, &lives_,
        [this](const SimLife& life, std::uint32_t shard, const v1::PullRequest& request, const v1::PullReply& reply,
               const std::vector<float>& weights) { CheckPull(life, shard, request, reply, weights); }));
    clock_.RunAt(clock_.Now() + absl::Milliseconds(300) * random_.Exponential(1),
                 [worker = workers_.back().get()] { worker->Start(); });
  }
  Script();
}

SimCluster::~SimCluster() {
  for (auto& ps : ps_) {
    if (ps != nullptr) ps->Stop();
  }
  clock_.Stop();
}

void SimCluster::StartPs(std::uint32_t index) {
  ps_[index] = std::make_unique<SimPs>(index, options_.shards, options_.policy, &clock_, &random_, &network_,
                                       options_.journal ? files_[index].get() : nullptr, options_.power_loss);
  if (files_[index]->crashed()) return KillPs(index);  // it died again, at once
  if (!ps_[index]->started().ok()) {
    Complain(absl::StrCat("ps", index, " did not come back: ", ps_[index]->started().ToString()));
  }
}

void SimCluster::KillPs(std::uint32_t index) {
  if (ps_[index] == nullptr || ps_[index]->end()) return;
  network_.Serve(absl::StrCat("ps", index), nullptr);
  ps_[index]->Kill(options_.power_loss ? CrashFiles::Loss::kPower : CrashFiles::Loss::kProcess);
  killed_.push_back(std::move(ps_[index]));
  version_.erase(absl::StrCat("ps", index));  // versions count within a generation
  clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1), [this, index] { StartPs(index); });
}

void SimCluster::BringBack(SimWorker* worker) {
  clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(2), [this, worker] {
    if (worker->running()) return worker->preempted() ? BringBack(worker) : void();
    if (!worker->finished()) worker->Start();
  });
}

void SimCluster::Script() {
  const auto at_random = [this](std::function<void(SimWorker*)> act) {
    SimWorker* const worker = workers_[random_.Below(workers_.size())].get();
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5), [act, worker] { act(worker); });
  };
  for (int i = 0; i < options_.deaths; ++i) {
    at_random([this](SimWorker* worker) {
      if (!worker->joined()) return;
      worker->Kill();
      BringBack(worker);
    });
  }
  for (int i = 0; i < options_.cuts; ++i) {
    const std::string name = absl::StrCat("w", random_.Below(workers_.size()));
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5),
                 [this, name] { network_.Cut(name, clock_.Now() + SimPs::kLease * 1.5); });
  }
  for (int i = 0; i < options_.ps_deaths && options_.shards > 1; ++i) {
    const auto index = static_cast<std::uint32_t>(random_.Between(1, options_.shards - 1));
    const bool on_file = random_.Chance(0.5);
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5), [this, index, on_file] {
      CrashFiles& files = *files_[index];
      if (on_file) return files.CrashAt(files.operations() + 1 + random_.Below(8));
      KillPs(index);
    });
  }
  for (int i = 0; i < options_.preemptions; ++i) {
    at_random([this](SimWorker* worker) {
      if (!worker->joined()) return;
      worker->Preempt();
      BringBack(worker);
    });
  }
}

void SimCluster::Complain(const std::string& what) {
  if (!complaint_) complaint_ = absl::StrCat("at ", absl::FormatDuration(clock_.Now() - Instant{}), ": ", what);
}

bool SimCluster::Over() const {
  for (const auto& ps : ps_) {
    if (ps == nullptr || !ps->end()) return false;
  }
  return std::none_of(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->running(); });
}

std::optional<std::string> SimCluster::Run() {
  const Instant limit = clock_.Now() + options_.time_limit;
  while (!complaint_ && !Over()) {
    const std::optional<Instant> next = clock_.NextTimer();
    if (!next || limit < *next) {
      const auto status = std::make_shared<Answer<v1::GetStatusReply>>();
      ps_[0]->coordinator()->Handle("GetStatus", EncodeMessage(v1::GetStatusRequest()), FillIn(status));
      status->message.clear_events();
      status->message.clear_policy();
      Complain(absl::StrCat("no end: ", status->message.ShortDebugString(),
                            " members: ", v1::WatchReply(snapshot_).ShortDebugString()));
      break;
    }
    clock_.AdvanceTo(*next);
    ++events_;
    for (std::uint32_t index = 0; index < options_.shards; ++index) {
      if (files_[index]->crashed()) KillPs(index);
    }
    // No server holds anything for longer than its shards' kMaxHold.
    if (const auto complaint = network_.Complaint(Shard::kMaxHold + absl::Seconds(1))) Complain(*complaint);
    for (const auto& worker : workers_) {
      if (!worker->error().empty()) Complain(worker->error());
    }
  }
  // What a late repetition has set going may still be on its way to the journal.
  clock_.AdvanceTo(clock_.Now() + absl::Seconds(1));
  if (!complaint_) CheckEnd();
  return complaint_;
}

std::uint64_t SimCluster::pulls_held() {
  std::uint64_t held = 0;
  for (const auto& ps : ps_) held += ps->shard().Describe().stats().pulls_blocked();
  return held;
}

std::uint64_t SimCluster::resolved() const {
  std::uint64_t resolved = 0;
  for (const auto& life : lives_) resolved += life->resolved;
  return resolved;
}

std::uint64_t SimCluster::deltas() const {
  std::uint64_t deltas = 0;
  for (const auto& life : lives_) deltas += life->deltas;
  return deltas;
}

std::uint64_t SimCluster::Fingerprint() {
  std::uint64_t hash = HashCombine(events_, static_cast<std::uint64_t>(clock_.Now().nanos));
  for (const auto& life : lives_) hash = HashCombine(hash, life->pushes.size());
  return hash;
}

}  // namespace leeway
