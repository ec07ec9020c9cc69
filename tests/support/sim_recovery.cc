#include "tests/support/sim_recovery.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/push_window.h"

namespace leeway {

absl::StatusOr<std::unique_ptr<RecoveredShard>> RecoveredShard::From(const CrashFiles& files, const CrashFiles& kept,
                                                                     const std::string& checkpoint_dir,
                                                                     std::uint32_t index, std::uint32_t num_shards,
                                                                     const std::string& ignored) {
  std::unique_ptr<RecoveredShard> recovered(new RecoveredShard(files.Clone(), kept.Clone()));
  if (!ignored.empty())
    RETURN_IF_ERROR(recovered->kept_->Remove(absl::StrCat(checkpoint_dir, "/", ignored, "/COMMITTED")));
  Shard::Options options;
  options.index = index;
  options.num_shards = num_shards;
  recovered->shard_ = std::make_unique<Shard>(options, &recovered->clock_, &recovered->executor_);
  ASSIGN_OR_RETURN(recovered->storage_,
                   RecoverShard({.checkpoint_dir = checkpoint_dir,
                                 .checkpoints = {.files = recovered->kept_.get(), .directory = checkpoint_dir}},
                                options, recovered->files_.get(), &recovered->clock_, &recovered->executor_,
                                recovered->shard_.get()));
  return recovered;
}

RecoveredShard::~RecoveredShard() {
  if (shard_ != nullptr) shard_->Shutdown("it was only looked at");
  if (storage_.journal != nullptr) storage_.journal->Stop();
  executor_.RunAll();
  clock_.Stop();
}

std::string RecoveredShard::DepartedWindows() {
  std::string windows;
  const v1::ShardState state = shard_->SaveState();
  for (const v1::WindowState& saved : state.departed()) {
    PushWindow window = *PushWindow::Restore(saved);
    window.TakeWhole();
    windows += absl::StrCat(saved.incarnation(), " ", saved.rank(), " ", window.Save().SerializeAsString());
  }
  return windows;
}

bool RecoveredShard::CutShort() {
  const v1::ShardState state = shard_->SaveState();
  return std::any_of(state.departed().begin(), state.departed().end(),
                     [](const v1::WindowState& saved) { return !PushWindow::Restore(saved)->TakeWhole().empty(); });
}

std::string RecoveredShard::Everything(bool counts) {
  v1::ShardState state = shard_->SaveState();
  state.clear_stats();
  state.clear_departed();
  if (!counts) {
    state.clear_version();
    state.clear_samples();
    state.clear_nonfinite_runs();
  }
  // With a quorum a push may come whole just when its round is closed without it. Then it depends on the order of two
  // threads whether it counts as one in a row that was refused, and the journal does not have that order.
  if (state.snapshot().policy().round_quorum() > 0) state.clear_nonfinite_runs();
  // A push that is under way when the last worker parks, or leaves, is in the journal before that, and is finished
  // after it: the minimum that stands from then on may be either.
  const auto live = [](const v1::MemberAtCut& member) { return member.member().state() == v1::LIVE; };
  if (std::none_of(state.members().begin(), state.members().end(), live)) state.clear_min_clock();
  state.mutable_snapshot()->clear_manifest();
  std::string everything =
      absl::StrCat(state.SerializeAsString(), DepartedWindows(), shard_->DescribeRound().SerializeAsString());
  const std::shared_ptr<BlockStore> store = shard_->store();
  if (store == nullptr || store->num_blocks() == 0) return everything;
  const ChunkRun own{shard_->DescribeRound().shard_index(), static_cast<std::uint32_t>(store->num_blocks())};
  const std::size_t bytes = store->placement().RunElements(own) * sizeof(float);
  everything.append(reinterpret_cast<const char*>(store->Weights(own)), bytes);
  for (std::size_t slot = 0; slot < store->num_slots(); ++slot) {
    everything.append(reinterpret_cast<const char*>(store->Slot(slot, own)), bytes);
  }
  for (std::size_t local = 0; local < store->num_blocks(); ++local)
    absl::StrAppend(&everything, " ", store->Steps(local));
  return everything;
}

}  // namespace leeway
