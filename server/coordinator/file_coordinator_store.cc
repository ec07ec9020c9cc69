#include "server/coordinator/file_coordinator_store.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/codec.h"
#include "common/log.h"
#include "common/record_log.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::uint32_t kMagic = 0x4c774353;
constexpr std::uint32_t kFormat = 1;

absl::Status Damaged(const std::string& path, const std::string& what) {
  return absl::DataLossError(absl::StrCat(path, ": ", what));
}

}  // namespace

FileCoordinatorStore::FileCoordinatorStore(std::string directory, FileSystem* files, Clock* clock, Executor* executor)
    : directory_(std::move(directory)), files_(files), clock_(clock), executor_(executor) {}

absl::StatusOr<std::unique_ptr<FileCoordinatorStore>> FileCoordinatorStore::Open(const std::string& checkpoint_dir,
                                                                                 FileSystem* files, Clock* clock,
                                                                                 Executor* executor) {
  const std::string directory = checkpoint_dir + "/coordinator";
  RETURN_IF_ERROR(files->MakeDirectories(directory));
  RETURN_IF_ERROR(files->SyncDirectory(checkpoint_dir));
  std::unique_ptr<FileCoordinatorStore> store(new FileCoordinatorStore(directory, files, clock, executor));
  ASSIGN_OR_RETURN(store->lock_, files->Lock(directory + "/lock"));
  const std::string path = directory + "/state";
  if (!files->Exists(path)) return store;
  ASSIGN_OR_RETURN(v1::CoordinatorFile file, store->Load(path));
  if (!file.has_state()) return Damaged(path, "this holds a manifest, not a state");
  store->found_.emplace();
  store->found_->state = std::move(*file.mutable_state());
  if (store->found_->state.model_fingerprint() == 0) return store;
  ASSIGN_OR_RETURN(v1::CoordinatorFile model, store->Load(directory + "/manifest"));
  if (!model.has_manifest()) return Damaged(directory + "/manifest", "this holds a state, not a manifest");
  store->found_->manifest = std::move(*model.mutable_manifest());
  return store;
}

absl::StatusOr<v1::CoordinatorFile> FileCoordinatorStore::Load(const std::string& path) const {
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(*files_, path));
  ASSIGN_OR_RETURN(const std::optional<Buffer> record, reader.Next());
  if (!record) return Damaged(path, "it ends before its content does");
  ASSIGN_OR_RETURN(const std::optional<Buffer> more, reader.Next());
  if (more || reader.torn()) return Damaged(path, "something follows its content");
  v1::CoordinatorFile file;
  const absl::Status parsed = DecodeMessage(*record, &file);
  if (!parsed.ok() || file.magic() != kMagic) return Damaged(path, "this is no file of a coordinator");
  if (file.format() != kFormat) {
    return Damaged(path, absl::StrCat("it has format ", file.format(), "; this ps reads ", kFormat));
  }
  return file;
}

std::optional<FileCoordinatorStore::Saved> FileCoordinatorStore::TakeSaved() {
  return std::exchange(found_, std::nullopt);
}

absl::Status FileCoordinatorStore::Replace(const std::string& path, const v1::CoordinatorFile& file) {
  const std::string aside = path + ".tmp";
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<RecordWriter> writer, RecordWriter::Create(*files_, aside));
    RETURN_IF_ERROR(writer->Append(EncodeMessage(file)));
    RETURN_IF_ERROR(writer->Sync());
  }
  RETURN_IF_ERROR(files_->Rename(aside, path));
  return files_->SyncDirectory(directory_);
}

absl::Status FileCoordinatorStore::Write(v1::CoordinatorState state) {
  v1::CoordinatorFile file;
  file.set_magic(kMagic);
  file.set_format(kFormat);
  // After the state was asked for: a state that names the model comes after it.
  std::optional<v1::Manifest> manifest;
  {
    MutexLock lock(mu_);
    manifest = manifest_;
  }
  if (manifest) {
    *file.mutable_manifest() = *std::move(manifest);
    RETURN_IF_ERROR(Replace(directory_ + "/manifest", file));
    MutexLock lock(mu_);
    manifest_.reset();
  }
  *file.mutable_state() = std::move(state);
  return Replace(directory_ + "/state", file);
}

void FileCoordinatorStore::SetSource(Source source) {
  MutexLock lock(mu_);
  source_ = std::move(source);
}

void FileCoordinatorStore::SetManifest(v1::Manifest manifest) {
  MutexLock lock(mu_);
  manifest_ = std::move(manifest);
}

void FileCoordinatorStore::Changed() {
  MutexLock lock(mu_);
  ++changed_;
  if (std::exchange(writing_, true)) return;
  executor_->Post([this] { WriteNewest(); });
}

void FileCoordinatorStore::WriteNewest() {
  Source source;
  std::uint64_t newest = 0;
  {
    MutexLock lock(mu_);
    source = source_;
    newest = changed_;
  }
  const absl::Status status = Write(source());
  std::vector<Done> done;
  {
    MutexLock lock(mu_);
    if (status.ok()) {
      if (!failure_.ok()) spdlog::info("coordinator state in {}: goes on", directory_);
      ++writes_;
      saved_ = newest;
      done = TakeWaiting(saved_);
      writing_ = changed_ > saved_;
      if (writing_) executor_->Post([this] { WriteNewest(); });
    } else {
      if (failure_.ok()) spdlog::error("coordinator state in {}: requests wait: {}", directory_, status);
      if (stopped_) {
        done = TakeWaiting(std::numeric_limits<std::uint64_t>::max());
      } else {
        timer_ = clock_->RunAt(clock_->Now() + kTryAgain, [this] { executor_->Post([this] { WriteNewest(); }); });
      }
    }
    failure_ = status;
  }
  for (const Done& callback : done) callback(status);
}

std::vector<CoordinatorStore::Done> FileCoordinatorStore::TakeWaiting(std::uint64_t saved) {
  std::vector<Done> taken;
  const auto end = waiting_.upper_bound(saved);
  for (auto it = waiting_.begin(); it != end; ++it) taken.push_back(std::move(it->second));
  waiting_.erase(waiting_.begin(), end);
  return taken;
}

void FileCoordinatorStore::WhenSaved(Done done) {
  absl::Status status;
  {
    MutexLock lock(mu_);
    if (changed_ > saved_) {
      if (!stopped_ || failure_.ok()) {
        waiting_.emplace(changed_, std::move(done));
        return;
      }
      status = failure_;
    }
  }
  done(status);
}

void FileCoordinatorStore::Stop() {
  std::vector<Done> given_up;
  absl::Status failure;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    failure = failure_;
    if (!failure.ok()) {
      clock_->Cancel(timer_);
      given_up = TakeWaiting(std::numeric_limits<std::uint64_t>::max());
    }
  }
  for (const Done& done : given_up) done(failure);
}

absl::Status FileCoordinatorStore::Ready() {
  MutexLock lock(mu_);
  if (failure_.ok()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("the coordinator's state cannot be saved: ", failure_.message()));
}

std::uint64_t FileCoordinatorStore::writes() {
  MutexLock lock(mu_);
  return writes_;
}

}  // namespace leeway
