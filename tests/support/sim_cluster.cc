#include "tests/support/sim_cluster.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

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
      manifest_(*Manifest::FromProto(Zeros(options.elements))),
      placement_(*Placement::Make(options.elements, options.shards)),
      random_(options.seed),
      network_(&clock_, &random_, options.faults),
      person_(network_.Connect("person")),
      person_random_(HashCombine(options.seed, 0x901c7)),
      limit_(clock_.Now() + options.time_limit),
      loosest_(options.policy.staleness_bound()) {
  spdlog::set_level(spdlog::level::off);
  network_.set_probe([this](const std::string& address, const std::string& method, const Buffer& request,
                            const absl::Status& status,
                            const Buffer& reply) { OnReply(address, method, request, status, reply); });
  network_.set_arrival_probe([this](const std::string& address, const std::string& method, const Buffer& request) {
    OnArrival(address, method, request);
  });
  ps_.resize(options.shards);
  starting_.resize(options.shards);
  gone_.resize(options.shards);
  full_until_.resize(options.shards);
  while (files_.size() < options.shards) files_.push_back(NewFiles(random_.Bits()));
  for (std::uint32_t index = 0; index < options.shards; ++index) StartPs(index);
  for (std::uint32_t i = 0; i < options.workers + options.visitors; ++i) AddWorker(i);
  Script();
}

std::unique_ptr<CrashFiles> SimCluster::NewFiles(std::uint64_t seed) const {
  const bool apart = files_.empty() || options_.own_storage;
  return apart ? std::make_unique<CrashFiles>(seed) : std::make_unique<CrashFiles>(seed, *files_[0]);
}

absl::StatusOr<std::unique_ptr<RecoveredShard>> SimCluster::Recovered(std::uint32_t index,
                                                                      const std::string& ignored) const {
  return RecoveredShard::From(*files_[index], *files_[options_.own_storage ? 0 : index], SimPs::kDirectory, index,
                              options_.shards, ignored);
}

void SimCluster::AddWorker(std::uint32_t index) {
  workers_.push_back(options_.trainers ? NewTrainer(index) : NewWorker(index));
  SimMember* const worker = workers_.back().get();
  if (index >= options_.workers) return Visit(worker);
  clock_.RunAt(clock_.Now() + absl::Milliseconds(300) * random_.Exponential(1), [worker] { worker->Start(); });
}

std::unique_ptr<SimMember> SimCluster::NewWorker(std::uint32_t index) {
  SimWorker::Options worker;
  worker.name = absl::StrCat("w", index);
  worker.coordinator = "ps0";
  worker.mean_step = absl::Milliseconds(5 + static_cast<std::int64_t>(random_.Below(60)));
  if (options_.visitors > 0) worker.mean_step *= 10;  // or the data is used up while they are there
  worker.num_records = options_.num_records;
  worker.null_chance = options_.null_chance;
  if (index == 0) worker.sick_after = options_.sick_after;
  // A gradient is corrected by what a worker's own weight has moved, which is nothing, since it has all its pushes;
  // a difference would be off by its rounding.
  worker.differences = options_.policy.aggregation() == v1::EACH && options_.policy.dc_lambda() == 0;
  if (options_.policy.aggregation() == v1::ROUND) worker.samples = 1 + index;
  return std::make_unique<SimWorker>(
      worker, manifest_, &clock_, &random_, &network_, &lives_,
      [this](const SimLife& life, std::uint32_t shard, const v1::PullRequest& request, const v1::PullReply& reply,
             const std::vector<float>& weights) { CheckPull(life, shard, request, reply, weights); });
}

std::unique_ptr<SimMember> SimCluster::NewTrainer(std::uint32_t index) {
  TrainerProcess::Options trainer;
  trainer.name = absl::StrCat("w", index);
  trainer.coordinator = "ps0";
  trainer.mean_step = absl::Milliseconds(5 + static_cast<std::int64_t>(random_.Below(60)));
  trainer.num_records = options_.num_records;
  trainer.null_chance = options_.null_chance;
  const bool each = options_.policy.aggregation() == v1::EACH;
  if (options_.policy.staleness_bound() != 0) trainer.depth = static_cast<int>(random_.Below(5));
  deepest_ = std::max(deepest_, static_cast<std::uint64_t>(trainer.depth));
  // Two values of each block leave, so that a third stays behind.
  const PushEncoding encodings[] = {{v1::TOP_K, 2.0 / static_cast<double>(placement_.block_elements())},
                                    {v1::TOP_K, 2.0 / static_cast<double>(placement_.block_elements())},
                                    {v1::INT8},
                                    {v1::F32}};
  trainer.push = encodings[random_.Below(4)];
  const v1::Encoding pulls[] = {v1::F32, v1::F32, v1::BF16, v1::INT8};
  trainer.pull = pulls[random_.Below(each ? 4 : 3)];
  return std::make_unique<SimTrainer>(trainer.name, [this, trainer]() mutable {
    trainer.number = processes_.size();
    return processes_
        .emplace_back(std::make_unique<TrainerProcess>(
            trainer, manifest_, options_.shards, &clock_, &random_, &network_,
            [this](const TrainerProcess& process, std::uint64_t own_clock, const std::vector<float>& weights) {
              CheckRead(process, own_clock, weights);
            }))
        .get();
  });
}

SimCluster::~SimCluster() {
  for (auto* all : {&ps_, &starting_}) {
    for (auto& ps : *all) {
      if (ps != nullptr) ps->Stop();
    }
  }
  clock_.Stop();
}

void SimCluster::StartPs(std::uint32_t index, const std::optional<Era>& go_back) {
  if (index >= options_.shards || ps_[index] != nullptr || starting_[index] != nullptr || gone_[index] != nullptr) {
    return;
  }
  SimPs::Options options;
  options.index = index;
  options.num_shards = options_.shards;
  options.policy = options_.policy;
  options.journal = options_.journal;
  options.fsync = options_.power_loss && !options_.unsynced;
  options.go_back = go_back;
  // A real worker waits 20 s for an answer that was lost: a few in a row, and the only one is away for minutes.
  if (options_.trainers) options.abandon_timeout = absl::Minutes(10);
  options.checkpoint_steps = options_.checkpoint_steps;
  options.checkpoint_keep = options_.checkpoint_keep;
  CrashFiles& files = *files_[index];
  if (clock_.Now() < full_until_[index]) files.FailAppends(absl::ResourceExhaustedError("no space left"));
  if (go_back && options_.journal && crashes_while_back_ < 3 && random_.Chance(0.4)) {
    ++crashes_while_back_;
    files.CrashAt(files.operations() + 1 + random_.Below(20));
  }
  const bool own = options_.own_storage && index > 0;
  starting_[index] = std::make_unique<SimPs>(options, &clock_, &random_, &network_, options_.files ? &files : nullptr,
                                             own ? &others_ : nullptr);
  SimPs* const ps = starting_[index].get();
  ps->Start();
  if (starting_[index].get() != ps) return;  // it was killed while it waited
  ps_[index] = std::move(starting_[index]);
  const absl::Status& started = ps->started();
  // Shard 0 was there for the last time before this one came back: it cannot begin without it (docs/adr/0020).
  const bool alone = own && absl::IsDeadlineExceeded(started) && gone_[0] != nullptr;
  // It dies again at once; or its disk is full, or shard 0 away for too long, and who has started it tries again.
  if (files.crashed() || absl::IsResourceExhausted(started) || (absl::IsDeadlineExceeded(started) && !alone)) {
    return KillPs(index);
  }
  if (started.ok()) {
    // On the first start there is nothing to look at.
    if (ps_[index]->shard().store() != nullptr && ps_[index]->era() == era_) CheckShard(index);
    return;
  }
  // Every shard knew of the end when it died: there is nothing to come back for.
  const bool finished =
      index == 0 && absl::IsFailedPrecondition(started) && absl::StrContains(started.message(), "the run is finished");
  if (!finished && !alone) return Complain(absl::StrCat("ps", index, " did not come back: ", started.ToString()));
  killed_.push_back(std::move(ps_[index]));
  auto left = Recovered(index, "");
  if (!left.ok()) return Complain(absl::StrCat("what ps", index, " has left: ", left.status().ToString()));
  gone_[index] = *std::move(left);
}

Shard& SimCluster::ShardOf(std::uint32_t index) {
  return gone_[index] != nullptr ? gone_[index]->shard() : ps_[index]->shard();
}

void SimCluster::EndPs(std::uint32_t index, CrashFiles::Loss loss) {
  std::unique_ptr<SimPs>& ps = ps_[index] != nullptr ? ps_[index] : starting_[index];
  network_.Serve(absl::StrCat("ps", index), nullptr);
  ps->Kill(loss);
  killed_.push_back(std::move(ps));
  coordinator_restarts_ += index == 0 ? 1 : 0;
  version_.erase(absl::StrCat("ps", index));  // versions count within a generation
}

void SimCluster::StartAgain(std::uint32_t index, absl::Duration mean, const std::optional<Era>& go_back) {
  clock_.RunAt(clock_.Now() + mean * random_.Exponential(1), [this, index, go_back] { StartPs(index, go_back); });
}

void SimCluster::KillPs(std::uint32_t index) {
  if (ps_[index] == nullptr ? starting_[index] == nullptr : ps_[index]->end().has_value()) return;
  // (At the end a process is needed to look at its weights, as it leaves none.)
  if (!options_.journal && snapshot_.state() == v1::FINISHED) return;
  if (options_.unsynced || !options_.journal) lost_ = true;
  EndPs(index, options_.power_loss ? CrashFiles::Loss::kPower : CrashFiles::Loss::kProcess);
  StartAgain(index, absl::Seconds(1), std::nullopt);
}

void SimCluster::BringBack(SimMember* worker) {
  clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(2), [this, worker] {
    if (worker->running()) return worker->preempted() ? BringBack(worker) : void();
    if (!worker->finished()) worker->Start();
  });
}

void SimCluster::Visit(SimMember* worker) {
  clock_.RunAt(clock_.Now() + absl::Seconds(3) * (1 + random_.Unit()), [worker] { worker->Start(); });
  clock_.RunAt(clock_.Now() + absl::Seconds(20) * (1 + random_.Unit()), [worker, preempted = random_.Chance(0.5)] {
    if (!worker->running()) return;
    if (preempted && worker->joined()) return worker->Preempt();
    worker->Kill();
  });
}

void SimCluster::Complain(const std::string& what) {
  std::optional<std::string>& first = lost_ ? suspicion_ : complaint_;
  if (!first) first = absl::StrCat("at ", absl::FormatDuration(clock_.Now() - Instant{}), ": ", what);
}

bool SimCluster::Over() const {
  for (std::uint32_t index = 0; index < options_.shards; ++index) {
    if (gone_[index] == nullptr && (ps_[index] == nullptr || !ps_[index]->end())) return false;
  }
  // Who was on its way back when the last process of ps 0 ended is told by nobody that the run is over: it gives up.
  if (gone_[0] != nullptr) return true;
  return std::none_of(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->running(); });
}

std::string SimCluster::NoEnd() {
  std::string what = absl::StrCat("no end; the newest snapshot: ", snapshot_.ShortDebugString());
  for (std::uint32_t index = 0; index < options_.shards; ++index) {
    if (ps_[index] == nullptr) continue;
    v1::ShardState state = ps_[index]->shard().SaveState();
    state.clear_stats();
    state.mutable_snapshot()->clear_policy();
    absl::StrAppend(&what, "\nps", index, ": ", state.ShortDebugString(),
                    "; its cut: ", ps_[index]->shard().Describe().cut().ShortDebugString());
  }
  return what;
}

bool SimCluster::Step() {
  if (late_ || complaint_ || Over() || Stuck()) return false;
  const std::optional<Instant> next = clock_.NextTimer();
  if (!next || limit_ < *next) {
    Complain(NoEnd());
    late_ = true;
    return false;
  }
  clock_.AdvanceTo(*next);
  ++events_;
  for (const auto& worker : workers_) {
    if (worker->error().empty()) continue;
    Complain(worker->error());
    worker->Kill();  // it ended with an error, and who has started it tries again
    BringBack(worker.get());
  }
  for (std::uint32_t index = 0; index < options_.shards; ++index) {
    if (files_[index]->crashed()) KillPs(index);
    // Who has ended dies no more: it would answer nobody who asks it still.
    if (ps_[index] != nullptr && ps_[index]->end()) files_[index]->CrashAt(0);
    if (ps_[index] != nullptr && ps_[index]->next_era()) GoBack(index);
  }
  // No server holds anything for longer than its shards' kMaxHold.
  if (const auto complaint = network_.Complaint(Shard::kMaxHold + absl::Seconds(1))) Complain(*complaint);
  return true;
}

// Who waits begins to wait within an event, and so the others' are within it.
void SimCluster::LetOthersGoOn(OnceEvent& event, absl::Duration most) {
  const Instant until = clock_.Now() + most;
  while (!event.happened() && clock_.Now() < until) {
    if (Step()) continue;
    for (auto* all : {&ps_, &starting_}) {
      for (auto& ps : *all) {
        if (ps != nullptr) ps->EndWaits();
      }
    }
    return;
  }
}

std::optional<std::string> SimCluster::Run() {
  while (Step()) {
  }
  stuck_ = Stuck();
  if (stuck_) return complaint_;
  // Who had lost everything when the run was over was told that it is over: the last checkpoint has its weights.
  const auto lost = [](const auto& ps) { return ps != nullptr && ps->lost(); };
  if (lost_ && Over() && std::any_of(ps_.begin(), ps_.end(), lost)) return complaint_;
  // What a late repetition has set going may still be on its way to the journal.
  clock_.AdvanceTo(clock_.Now() + absl::Seconds(1));
  if (!complaint_) CheckEnd();
  return complaint_ ? complaint_ : suspicion_;
}

std::uint64_t SimCluster::pulls_held() {
  std::uint64_t held = 0;
  for (std::uint32_t i = 0; i < options_.shards; ++i) held += ShardOf(i).Describe().stats().pulls_blocked();
  return held;
}

bool SimCluster::without_last_checkpoint() const {
  return ps_[0] != nullptr && !ps_[0]->coordinator()->last_checkpoint().ok();
}

std::uint64_t SimCluster::quarantined() const {
  return static_cast<std::uint64_t>(
      std::count_if(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->quarantined(); }));
}

std::uint64_t SimCluster::resolved() const {
  std::uint64_t resolved = 0;
  for (const auto& life : lives_) resolved += life->resolved;
  return resolved;
}

std::uint64_t SimCluster::given_up() const {
  std::uint64_t given_up = 0;
  for (const auto& life : lives_) given_up += life->given_up;
  for (const auto& process : processes_) given_up += process->given_up();
  return given_up;
}

std::uint64_t SimCluster::incarnations() const {
  std::uint64_t incarnations = 0;
  for (const auto& process : processes_) incarnations += process->incarnations().size();
  return incarnations;
}

std::uint64_t SimCluster::deltas() const {
  std::uint64_t deltas = 0;
  for (const auto& life : lives_) deltas += life->deltas;
  return deltas;
}

std::uint64_t SimCluster::corrected() {
  std::uint64_t corrected = 0;
  for (std::uint32_t index = 0; index < options_.shards; ++index) {
    corrected += ShardOf(index).Describe().stats().chunks_corrected();
  }
  return corrected;
}

std::uint64_t SimCluster::Fingerprint() {
  std::uint64_t hash = HashCombine(events_, static_cast<std::uint64_t>(clock_.Now().nanos));
  for (const auto& life : lives_) hash = HashCombine(hash, life->pushes.size());
  return HashCombine(hash, pushes_.chunks().size());
}

}  // namespace leeway
