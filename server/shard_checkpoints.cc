#include "server/shard_checkpoints.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "kernels/finite.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/shard_checkpoint_writer.h"
#include "server/checkpoint/shard_state.h"
#include "server/checkpoint_upload.h"

namespace leeway {

std::string OutgoingDirectory(const std::string& checkpoint_dir, std::uint32_t shard_index) {
  return absl::StrFormat("%s/outgoing/shard-%05d", checkpoint_dir, shard_index);
}

absl::Status RemoveOutgoing(FileSystem& files, const std::string& checkpoint_dir, std::uint32_t shard_index) {
  const std::string directory = OutgoingDirectory(checkpoint_dir, shard_index);
  if (!files.Exists(directory)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> cuts, files.List(directory));
  for (const std::string& cut : cuts) RETURN_IF_ERROR(RemoveCheckpoint(files, absl::StrCat(directory, "/", cut)));
  return absl::OkStatus();
}

// With something in them: a shard without blocks has one that is empty, for the sake of its clock.
static std::uint32_t Chunks(const ShardCheckpoints::Options& options, const BlockStore& store) {
  return store.num_blocks() == 0 ? 0 : store.placement().ShardChunks(options.index);
}

// One cut. Its writer is made by whoever comes first, for Begin must not touch the disk.
class ShardCheckpoints::Job {
 public:
  Job(const Options& options, FileSystem* files, const std::atomic<bool>* stopped, std::uint64_t id,
      const std::string& name, const v1::ShardState& state, std::shared_ptr<BlockStore> store)
      : options_(options),
        files_(files),
        stopped_(stopped),
        id_(id),
        directory_(options.checkpoints.upload == nullptr
                       ? absl::StrCat(options.directory, "/", name)
                       : absl::StrCat(OutgoingDirectory(options.directory, options.index), "/cut-", absl::Hex(id))),
        state_(state),
        store_(std::move(store)) {
    state_.set_shard_index(options.index);
    state_.set_num_shards(options.num_shards);
    state_.set_step(StepOfDirectoryName(name).value_or(0));
    state_.set_run_id(state.snapshot().run_id());
  }

  // Another one has begun: nobody asks for this one any more.
  void GiveUp() { given_up_ = true; }

  // Under the chunk's lock.
  void Write(std::uint32_t chunk) {
    ShardCheckpointWriter* const writer = Writer();
    if (writer == nullptr) return;
    const ChunkRun run = store_->placement().Chunk(options_.index, chunk);
    const std::size_t elements = store_->placement().RunElements(run);
    if (FirstNonFinite(store_->Weights(run), elements) < elements) {
      not_finite_ = true;
      return Note(absl::FailedPreconditionError(absl::StrCat("weights from block ", run.first_block,
                                                             " on hold a NaN or an infinity: the model has diverged")));
    }
    std::vector<const float*> slots;
    for (std::size_t i = 0; i < store_->num_slots(); ++i) slots.push_back(store_->Slot(i, run));
    std::vector<std::uint64_t> steps;
    for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
      steps.push_back(store_->Steps(store_->LocalIndex(run.first_block) + i));
    }
    Note(writer->WriteChunk(run, store_->Weights(run), slots, steps));
  }

  // Writes what no update has come to, and the rest.
  v1::CutReport Finish(StoreCut* cut) {
    for (std::uint32_t chunk = 0; chunk < Chunks(options_, *store_); ++chunk) {
      if (Ends()) Note(absl::CancelledError(*stopped_ ? "this ps ends" : "given up for the next one"));
      MutexLock lock(store_->ChunkMutex(chunk));
      cut->BeforeUpdate(chunk);
    }
    v1::CutReport report;
    report.set_id(id_);
    absl::StatusOr<std::vector<v1::CheckpointFile>> files = FinishFiles();
    if (files.ok()) {
      report.set_written(true);
      report.set_slots(static_cast<std::uint32_t>(store_->num_slots()));
      for (v1::CheckpointFile& file : *files) *report.add_files() = std::move(file);
    } else {
      report.set_error(absl::StrCat("shard ", options_.index, ": ", std::string(files.status().message())));
      report.set_not_finite(not_finite_);
    }
    return report;
  }

 private:
  bool Ends() const { return *stopped_ || given_up_; }

  absl::StatusOr<std::vector<v1::CheckpointFile>> FinishFiles() {
    ShardCheckpointWriter* const writer = Writer();  // a shard without blocks has not made it yet
    const absl::Status before = status();
    const CheckpointUpload* const upload = options_.checkpoints.upload;
    const bool stays = upload == nullptr;  // else it is removed at once, and syncing it would double the disk's work
    absl::StatusOr<std::vector<v1::CheckpointFile>> files =
        before.ok() ? writer->Finish(state_, stays) : absl::StatusOr<std::vector<v1::CheckpointFile>>(before);
    if (upload != nullptr && files.ok()) {
      const absl::Status brought = upload->Bring(id_, options_.index, directory_, *files, [this] { return !Ends(); });
      if (!brought.ok()) files = brought;
    }
    {
      MutexLock lock(mu_);
      writer_.reset();  // removes what it has written if it has not finished
    }
    // Whether they were brought or not, nobody needs them here any more.
    if (upload != nullptr && files_->Exists(directory_)) {
      const absl::Status removed = RemoveCheckpoint(*files_, directory_);
      if (!removed.ok()) spdlog::warn("what was on its way to ps 0 stays here: {}", removed);
    }
    return files;
  }

  // Null: it could not be made, or has failed.
  ShardCheckpointWriter* Writer() {
    MutexLock lock(mu_);
    if (!tried_) {
      tried_ = true;
      ShardFile file;
      file.model_fingerprint = state_.snapshot().model_fingerprint();
      file.placement = store_->placement();
      file.shard = options_.index;
      file.slots = static_cast<std::uint32_t>(store_->num_slots());
      file.optimizer = OptimizerName(state_.snapshot().policy().optimizer());
      file.model = state_.snapshot().manifest().model();
      absl::StatusOr<std::unique_ptr<ShardCheckpointWriter>> writer =
          ShardCheckpointWriter::Create(*files_, directory_, std::move(file));
      status_ = writer.status();
      if (writer.ok()) writer_ = *std::move(writer);
    }
    return status_.ok() ? writer_.get() : nullptr;
  }
  void Note(const absl::Status& status) {
    MutexLock lock(mu_);
    status_.Update(status);
  }
  absl::Status status() {
    MutexLock lock(mu_);
    return status_;
  }

  const Options options_;
  FileSystem* const files_;
  const std::atomic<bool>* const stopped_;
  std::atomic<bool> given_up_ = false;
  std::atomic<bool> not_finite_ = false;
  const std::uint64_t id_;
  const std::string directory_;
  v1::ShardState state_;
  const std::shared_ptr<BlockStore> store_;
  Mutex mu_;
  bool tried_ LEEWAY_GUARDED_BY(mu_) = false;
  absl::Status status_ LEEWAY_GUARDED_BY(mu_);
  std::unique_ptr<ShardCheckpointWriter> writer_ LEEWAY_GUARDED_BY(mu_);
};

std::shared_ptr<StoreCut> ShardCheckpoints::Begin(std::uint64_t id, const std::string& name,
                                                  const v1::ShardState& state, std::shared_ptr<BlockStore> store) {
  if (const std::shared_ptr<Job> last = last_.lock()) last->GiveUp();
  const std::uint32_t chunks = Chunks(options_, *store);
  const auto job = std::make_shared<Job>(options_, files_, &stopped_, id, name, state, std::move(store));
  last_ = job;
  const auto cut = std::make_shared<StoreCut>(chunks, [job](std::uint32_t chunk) { job->Write(chunk); });
  executor_->Post([this, job, cut] { shard_->CutWritten(job->Finish(cut.get())); });
  return cut;
}

void ShardCheckpoints::Committed(const std::string&) {
  executor_->Post([this] { RemoveOldJournal(); });
}

void ShardCheckpoints::RemoveOldJournal() {
  if (journal_ == nullptr || options_.keep_journal) return;
  CheckpointPlace from = options_.checkpoints;
  if (from.files == nullptr) from = {files_, options_.directory};
  // From the oldest checkpoint that is kept on, a restart and a replay need the records.
  const absl::StatusOr<std::vector<CheckpointEntry>> all =
      ListCheckpoints(*from.files, from.directory, CheckpointCheck::kIndex);
  std::optional<std::uint64_t> needed;
  for (const CheckpointEntry& entry : all.ok() ? *all : std::vector<CheckpointEntry>()) {
    const absl::StatusOr<Checkpoint> index =
        entry.status.ok() ? ReadCheckpointIndex(*from.files, entry.path) : absl::StatusOr<Checkpoint>(entry.status);
    if (!index.ok() && IsWorthless(index.status())) continue;
    // It may be good, and need what is before the others.
    if (!index.ok()) return spdlog::warn("the journal is kept: {}", index.status());
    if (index->index.era() != options_.era.number) {
      // What this era began with needs all of its records; what is older has none in it.
      if (StepDirectoryName(entry.step) == options_.era.base) needed = 0;
      break;
    }
    const absl::StatusOr<v1::ShardState> state = ReadShardState(*from.files, entry.path, index->index, options_.index);
    if (!state.ok()) return spdlog::warn("the journal is kept: {}", state.status());
    needed = state->journal_sequence();  // newest first, so the last one is the oldest
  }
  if (!needed) return;
  if (absl::Status status = journal_->RemoveBefore(*needed + 1); !status.ok()) {
    spdlog::warn("old files of the journal stay: {}", status);
  }
}

}  // namespace leeway
