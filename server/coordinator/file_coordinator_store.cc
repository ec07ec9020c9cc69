#include "server/coordinator/file_coordinator_store.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/codec.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::uint32_t kMagic = 0x4c774353;
constexpr std::uint32_t kFormat = 1;

constexpr char kSuffix[] = ".log";

v1::CoordinatorFile EmptyFile() {
  v1::CoordinatorFile file;
  file.set_magic(kMagic);
  file.set_format(kFormat);
  return file;
}

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
  RETURN_IF_ERROR(MakeDurableDirectories(*files, directory));
  std::unique_ptr<FileCoordinatorStore> store(new FileCoordinatorStore(directory, files, clock, executor));
  ASSIGN_OR_RETURN(store->lock_, files->Lock(directory + "/lock"));
  absl::Status loaded = store->LoadState();
  if (loaded.ok() && store->found_ && store->found_->state.model_fingerprint() != 0) loaded = store->LoadManifest();
  if (absl::IsDataLoss(loaded)) {
    return absl::DataLossError(absl::StrCat(loaded.message(), "; without ", directory, " and ", checkpoint_dir,
                                            "/journal (of every ps) the run goes on from its newest checkpoint"));
  }
  RETURN_IF_ERROR(loaded);
  return store;
}

absl::StatusOr<std::optional<v1::CoordinatorFile>> FileCoordinatorStore::LastOf(const std::string& path) const {
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(*files_, path));
  std::optional<Buffer> last;
  for (;;) {
    absl::StatusOr<std::optional<Buffer>> record = reader.Next();
    // One that is not whole at the end was promised to nobody.
    if (absl::IsDataLoss(record.status()) && !reader.SkipDamage()) break;
    RETURN_IF_ERROR(record.status());
    if (!*record) break;
    last = *std::move(record);
  }
  if (!last) return std::nullopt;
  v1::CoordinatorFile file;
  const absl::Status parsed = DecodeMessage(*last, &file, kMaxRecordBytes);
  if (!parsed.ok() || file.magic() != kMagic) return Damaged(path, "this is no file of a coordinator");
  if (file.format() != kFormat) {
    return Damaged(path, absl::StrCat("it has format ", file.format(), "; this ps reads ", kFormat));
  }
  return file;
}

absl::Status FileCoordinatorStore::LoadState() {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files_->List(directory_));
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    std::uint64_t number = 0;
    if (!absl::EndsWith(*name, kSuffix) || !absl::SimpleAtoi(absl::StripSuffix(*name, kSuffix), &number)) continue;
    next_file_ = std::max(next_file_, number + 1);
    const std::string path = absl::StrCat(directory_, "/", *name);
    ASSIGN_OR_RETURN(std::optional<v1::CoordinatorFile> file, LastOf(path));
    if (!file) continue;  // begun, and nobody was told of what it was to hold
    if (!file->has_state()) return Damaged(path, "this holds a manifest, not a state");
    found_.emplace();
    found_->state = std::move(*file->mutable_state());
    return absl::OkStatus();
  }
  // Only the first file of all may have been begun with nothing before it: it is begun again.
  if (next_file_ > 2) return Damaged(directory_, "none of its files has a whole record");
  next_file_ = 1;
  return absl::OkStatus();
}

absl::Status FileCoordinatorStore::LoadManifest() {
  const std::string path = directory_ + "/manifest";
  if (!files_->Exists(path)) return Damaged(path, "it is missing");
  ASSIGN_OR_RETURN(std::optional<v1::CoordinatorFile> file, LastOf(path));
  if (!file) return Damaged(path, "it ends before its content does");
  if (!file->has_manifest()) return Damaged(path, "this holds a state, not a manifest");
  found_->manifest = std::move(*file->mutable_manifest());
  return absl::OkStatus();
}

std::optional<FileCoordinatorStore::Saved> FileCoordinatorStore::TakeSaved() {
  return std::exchange(found_, std::nullopt);
}

absl::Status FileCoordinatorStore::WriteManifest(v1::Manifest manifest) {
  const std::string path = directory_ + "/manifest";
  const std::string aside = path + ".tmp";
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<RecordWriter> writer, RecordWriter::Create(*files_, aside));
    v1::CoordinatorFile file = EmptyFile();
    *file.mutable_manifest() = std::move(manifest);
    RETURN_IF_ERROR(writer->Append(EncodeMessage(file)));
    RETURN_IF_ERROR(writer->Sync());
  }
  RETURN_IF_ERROR(files_->Rename(aside, path));
  return files_->SyncDirectory(directory_);
}

absl::Status FileCoordinatorStore::Write(v1::CoordinatorState state) {
  // After the state was asked for: a state that names the model comes after it.
  std::optional<v1::Manifest> manifest;
  {
    MutexLock lock(mu_);
    manifest = manifest_;
  }
  if (manifest) {
    RETURN_IF_ERROR(WriteManifest(*std::move(manifest)));
    MutexLock lock(mu_);
    manifest_.reset();
  }
  v1::CoordinatorFile file = EmptyFile();
  *file.mutable_state() = std::move(state);
  const Buffer record = EncodeMessage(file);
  if (writer_ != nullptr && writer_->bytes() < kFileBytes) {
    RETURN_IF_ERROR(writer_->Append(record));
    return writer_->Sync();
  }
  const std::string name = absl::StrFormat("%08d%s", next_file_, kSuffix);
  ASSIGN_OR_RETURN(std::unique_ptr<RecordWriter> writer, RecordWriter::Create(*files_, directory_ + "/" + name));
  RETURN_IF_ERROR(writer->Append(record));
  RETURN_IF_ERROR(writer->Sync());
  RETURN_IF_ERROR(files_->SyncDirectory(directory_));
  writer_ = std::move(writer);
  ++next_file_;
  RemoveAllBut(name);
  return absl::OkStatus();
}

void FileCoordinatorStore::RemoveAllBut(const std::string& name) {
  const absl::StatusOr<std::vector<std::string>> names = files_->List(directory_);
  if (!names.ok()) return;
  for (const std::string& other : *names) {
    // One that stays does no harm: it is older.
    if (absl::EndsWith(other, kSuffix) && other != name) files_->Remove(directory_ + "/" + other).IgnoreError();
  }
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
      writer_.reset();  // its file may end within a record, and takes no more
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
