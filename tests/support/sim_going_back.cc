// SimCluster: what takes the run back to a checkpoint, and what is looked at when it goes.
#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "tests/support/sim_cluster.h"

namespace leeway {
namespace {

using Records = std::set<std::pair<std::uint64_t, std::uint64_t>>;  // by epoch and position

// What these leases call trained on.
Records Committed(const v1::DataLeasesState& leases, std::uint64_t num_records) {
  Records records;
  for (std::uint64_t epoch = 0; epoch <= leases.next_epoch(); ++epoch) {
    const std::uint64_t end = epoch == leases.next_epoch() ? leases.next_position() : num_records;
    for (std::uint64_t position = 0; position < end; ++position) records.emplace(epoch, position);
  }
  const auto take_out = [&records](const auto& pieces) {
    for (const v1::LeasedPiece& piece : pieces) {
      for (std::uint64_t position = piece.begin(); position < piece.end(); ++position) {
        records.erase({piece.epoch(), position});
      }
    }
  };
  take_out(leases.returned());
  for (const v1::DataLease& lease : leases.leases()) take_out(lease.out());
  return records;
}

}  // namespace

std::optional<std::uint64_t> SimCluster::EraOf(std::uint64_t incarnation) const {
  const auto it = member_in_.find(incarnation);
  return it == member_in_.end() ? std::nullopt : std::optional(it->second);
}

absl::StatusOr<SimCluster::SavedRun> SimCluster::ReadCheckpoint(const std::string& name) const {
  const std::unique_ptr<CrashFiles> files = files_[0]->Clone();
  ASSIGN_OR_RETURN(const auto reader, CheckpointReader::Open(*files, absl::StrCat(SimPs::kDirectory, "/", name)));
  SavedRun saved;
  saved.index = reader->checkpoint().index;
  saved.weights.resize(options_.elements);
  RETURN_IF_ERROR(reader->Read(0, 0, absl::MakeSpan(saved.weights)));
  return saved;
}

// (Of scripted workers, whose pushes can be counted: those of a life are in its weights from the first one on.)
void SimCluster::CheckWhole(const std::string& name, const SavedRun& saved) {
  if (options_.trainers || options_.policy.aggregation() == v1::ROUND) return;
  Records held;
  for (const auto& life : lives_) {
    float least = std::numeric_limits<float>::infinity();
    float most = 0;
    for (std::uint64_t b = 0; b < placement_.num_blocks(); ++b) {
      const float pushes = -saved.weights[placement_.BlockBegin(b) + life->slot];
      least = std::min(least, pushes);
      most = std::max(most, pushes);
    }
    const auto& members = snapshot_.members();
    const bool member = std::any_of(members.begin(), members.end(), [&life](const v1::Member& one) {
      return one.incarnation() == life->incarnation && one.state() != v1::JOINING;
    });
    if (least != most && member) {
      Complain(absl::StrCat(name, " has a push of ", life->name, " in part: ", least, " and ", most, " of them"));
    }
    float seen = 0;
    for (const auto& [step, push] : life->pushes) {
      const auto commit = asked_.find({life->incarnation, step});
      const bool applied = commit != asked_.end() ? commit->second.applied() : !push.null;
      if (!applied) continue;
      if (++seen > least) break;
      if (commit == asked_.end()) continue;  // it was never asked for
      for (const v1::DataRange& range : commit->second.ranges()) {
        for (std::uint64_t position = range.begin(); position < range.end(); ++position) {
          held.emplace(range.epoch(), position);
        }
      }
    }
  }
  if (options_.policy.data_sharing() != v1::LEASED || !saved.index.coordinator_state().has_leases()) return;
  // A range that was refused again and again is given up, and counts as committed.
  if (options_.null_chance > 0 || options_.policy.max_delay() >= 0 || options_.sick_after) return;
  for (const auto& [epoch, position] : Committed(saved.index.coordinator_state().leases(), options_.num_records)) {
    if (held.count({epoch, position}) > 0) continue;
    return Complain(absl::StrCat(name, " calls record ", position, " of epoch ", epoch,
                                 " trained on, and no push of it is in its weights"));
  }
}

void SimCluster::GoBack(std::uint32_t index) {
  const Era era = *ps_[index]->next_era();
  NoteEra(era);
  EndPs(index, CrashFiles::Loss::kProcess);
  StartAgain(index, absl::Milliseconds(50), era);
}

void SimCluster::NoteEra(const Era& era) {
  if (era.number <= era_.number) return;
  if (!lost_) Complain(absl::StrCat("the run goes back to ", era.base, ", and nothing is lost"));
  lost_ = false;
  suspicion_.reset();
  era_ = era;
  const absl::StatusOr<SavedRun> saved = ReadCheckpoint(era.base);
  if (!saved.ok()) return Complain(absl::StrCat("the run goes back to ", era.base, ": ", saved.status().ToString()));
  CheckWhole(era.base, *saved);
  base_ = saved->weights;
  const v1::CoordinatorState& then = saved->index.coordinator_state();
  closes_.erase(closes_.lower_bound(then.rounds().open_round()), closes_.end());
  serials_.clear();
  checkpoints_.erase(checkpoints_.upper_bound(era.base), checkpoints_.end());
  for (const int seconds : {1, 5, 20}) {
    clock_.RunAt(clock_.Now() + absl::Seconds(seconds), [this, number = era.number] {
      if (era_.number == number && snapshot_.state() == v1::TRAINING) CallBack();
    });
  }
  if (!then.has_leases()) return committed_.clear();
  const Records committed = Committed(then.leases(), options_.num_records);
  for (auto it = committed_.begin(); it != committed_.end();) {
    it = committed.count(*it) > 0 ? std::next(it) : committed_.erase(it);
  }
}

// Who was sent home, as the run was ending, is started again, or nobody would be there to end it.
void SimCluster::CallBack() {
  for (const auto& worker : workers_) {
    if (worker->finished() && !worker->quarantined() && !worker->running()) worker->Start();
  }
}

void SimCluster::DamageJournal(std::uint32_t index) {
  if (ps_[index] == nullptr || snapshot_.state() != v1::TRAINING) return;
  KillPs(index);
  lost_ = true;
  CrashFiles& files = *files_[index];
  const std::string directory = JournalDirectory(SimPs::kDirectory, index);
  const absl::StatusOr<std::vector<std::string>> names = files.List(directory);
  if (!names.ok()) return;
  for (const std::string& name : *names) files.Remove(absl::StrCat(directory, "/", name)).IgnoreError();
  files.SyncDirectory(directory).IgnoreError();  // or power that fails brings them back
}

// All end, as when a cluster is taken down, and another one begins on what is left.
void SimCluster::Reshard() {
  const bool training = snapshot_.state() == v1::TRAINING;
  if (!training || checkpoints_.empty() ||
      std::any_of(gone_.begin(), gone_.end(), [](auto& g) { return g != nullptr; }))
    return;
  lost_ = true;
  for (std::uint32_t index = 0; index < options_.shards; ++index) {
    if (ps_[index] != nullptr || starting_[index] != nullptr) EndPs(index, CrashFiles::Loss::kProcess);
  }
  const auto shards = static_cast<std::uint32_t>(1 + (options_.shards + random_.Below(2)) % 3);
  while (files_.size() < shards) files_.push_back(NewFiles(random_.Bits()));
  options_.shards = shards;
  placement_ = *Placement::Make(options_.elements, shards);
  ps_.resize(shards);
  starting_.resize(shards);
  gone_.resize(shards);
  full_until_.resize(files_.size());
  for (std::uint32_t index = 0; index < shards; ++index) StartAgain(index, absl::Seconds(1), std::nullopt);
  for (const auto& worker : workers_) {
    if (!worker->running()) continue;
    worker->Kill();
    BringBack(worker.get());
  }
}

bool SimCluster::Stuck() const {
  if (!lost_ || !checkpoints_.empty()) return false;
  return std::any_of(ps_.begin(), ps_.end(), [](const auto& ps) {
    return ps != nullptr && ps->end() && absl::IsFailedPrecondition(*ps->end()) &&
           absl::StrContains(ps->end()->message(), "cannot go on");
  });
}

}  // namespace leeway
