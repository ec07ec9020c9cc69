#include "tests/support/crash_files.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::size_t kPage = 512;  // what a disk writes whole

bool IsBelow(const std::string& path, const std::string& directory) { return absl::StartsWith(path, directory + "/"); }

bool IsIn(const std::string& path, const std::string& directory) {
  if (directory == ".") return path.find('/') == path.npos;
  return IsBelow(path, directory) && path.find('/', directory.size() + 1) == path.npos;
}

template <typename Map, typename Which>
void EraseIf(Map* map, const Which& which) {
  for (auto it = map->begin(); it != map->end();) it = which(*it) ? map->erase(it) : std::next(it);
}

}  // namespace

class CrashFiles::File final : public WritableFile {
 public:
  File(CrashFiles* files, std::shared_ptr<Node> node) : files_(files), node_(std::move(node)), life_(files->life_) {}

  absl::Status Append(const void* data, std::size_t size) override {
    if (life_ != files_->life_) return absl::UnavailableError("append: this process is dead");
    const bool was_crashed = files_->crashed();
    absl::Status status = files_->Operate("append");
    if (was_crashed) return status;
    if (status.ok()) status = files_->append_failure_;
    const std::uint64_t room = files_->Room();
    if (status.ok() && room < size) {
      node_->bytes.append(static_cast<const char*>(data), room);
      return absl::ResourceExhaustedError("append: no space left");
    }
    node_->bytes.append(static_cast<const char*>(data), status.ok() ? size : files_->random_.Below(size + 1));
    return status;
  }
  absl::Status Sync() override {
    if (life_ != files_->life_) return absl::UnavailableError("sync: this process is dead");
    RETURN_IF_ERROR(files_->Operate("sync"));
    RETURN_IF_ERROR(files_->sync_failure_);
    node_->synced = node_->bytes;
    return absl::OkStatus();
  }
  absl::Status Close() override { return files_->Operate("close"); }

 private:
  CrashFiles* const files_;
  const std::shared_ptr<Node> node_;
  const std::uint64_t life_;
};

class CrashFiles::SizedFile final : public RandomWriteFile {
 public:
  SizedFile(CrashFiles* files, std::shared_ptr<Node> node)
      : files_(files), node_(std::move(node)), life_(files->life_) {}

  absl::Status WriteAt(std::uint64_t offset, const void* data, std::size_t size) override {
    if (life_ != files_->life_) return absl::UnavailableError("write: this process is dead");
    const bool was_crashed = files_->crashed();
    absl::Status status = files_->Operate("write");
    if (was_crashed) return status;
    if (status.ok()) status = files_->append_failure_;
    const std::size_t written = status.ok() ? size : files_->random_.Below(size + 1);
    if (node_->bytes.size() < offset + written) node_->bytes.resize(offset + written);
    node_->bytes.replace(offset, written, static_cast<const char*>(data), written);
    node_->not_synced.push_back({offset, written});
    return status;
  }
  absl::Status Sync() override {
    if (life_ != files_->life_) return absl::UnavailableError("sync: this process is dead");
    RETURN_IF_ERROR(files_->Operate("sync"));
    RETURN_IF_ERROR(files_->sync_failure_);
    node_->synced = node_->bytes;
    node_->not_synced.clear();
    return absl::OkStatus();
  }
  absl::Status Close() override { return files_->Operate("close"); }

 private:
  CrashFiles* const files_;
  const std::shared_ptr<Node> node_;
  const std::uint64_t life_;
};

class CrashFiles::OpenFile final : public RandomAccessFile {
 public:
  OpenFile(CrashFiles* files, std::string path, std::shared_ptr<const Node> node)
      : files_(files), path_(std::move(path)), node_(std::move(node)), size_(node_->bytes.size()) {}

  std::uint64_t Size() const override { return size_; }
  absl::Status ReadAt(std::uint64_t offset, std::size_t size, void* out) override {
    RETURN_IF_ERROR(files_->Operate("read"));
    if (offset > node_->bytes.size() || size > node_->bytes.size() - offset) {
      return absl::DataLossError(absl::StrCat("read ", path_, ": it ends at byte ", node_->bytes.size()));
    }
    node_->bytes.copy(static_cast<char*>(out), size, offset);
    return absl::OkStatus();
  }

 private:
  CrashFiles* const files_;
  const std::string path_;
  const std::shared_ptr<const Node> node_;
  const std::uint64_t size_;
};

class CrashFiles::Held final : public FileLock {
 public:
  Held(CrashFiles* files, std::string path) : files_(files), path_(std::move(path)), life_(files->life_) {}
  ~Held() override {
    if (life_ == files_->life_) files_->disk_->locks.erase(path_);
  }

 private:
  CrashFiles* const files_;
  const std::string path_;
  const std::uint64_t life_;
};

absl::Status CrashFiles::Operate(const std::string& what) {
  ++operations_;
  return crashed() ? absl::UnavailableError(what + ": the process has crashed") : absl::OkStatus();
}

void CrashFiles::LosePower(Node& node) {
  if (node.sized) {
    // Any of the pieces may have reached the disk.
    std::string left = node.synced;
    if (random_.Chance(0.5)) left.resize(node.bytes.size());
    for (const Piece& piece : node.not_synced) {
      if (random_.Chance(0.5)) continue;
      if (left.size() < piece.offset + piece.size) left.resize(piece.offset + piece.size);
      left.replace(piece.offset, piece.size, node.bytes, piece.offset, piece.size);
    }
    node.bytes = left;
    node.not_synced.clear();
    return;
  }
  // Of what was not synced any beginning may have reached the disk, and of that any pages: the others are zeros.
  if (!absl::StartsWith(node.bytes, node.synced)) {
    node.bytes = node.synced;
    return;
  }
  const std::size_t lost = node.bytes.size() - node.synced.size();
  node.bytes.resize(node.synced.size() + random_.Below(lost + 1));
  if (random_.Chance(0.5)) return;
  for (std::size_t at = node.synced.size(); at < node.bytes.size();) {
    const std::size_t end = std::min(node.bytes.size(), (at / kPage + 1) * kPage);
    if (random_.Chance(0.3)) std::fill(node.bytes.begin() + at, node.bytes.begin() + end, '\0');
    at = end;
  }
}

std::uint64_t CrashFiles::Room() const {
  std::uint64_t used = 0;
  for (const auto& [path, node] : disk_->files) used += node->bytes.size();
  return capacity_ - std::min(capacity_, used);
}

void CrashFiles::Restart(Loss loss) {
  crash_at_ = 0;
  operations_ = 0;
  append_failure_ = sync_failure_ = absl::OkStatus();
  for (auto it = disk_->locks.begin(); it != disk_->locks.end();) {
    it = it->second == this ? disk_->locks.erase(it) : std::next(it);
  }
  ++life_;
  if (loss == Loss::kProcess) return;
  for (auto it = disk_->changed.begin(); it != disk_->changed.end();) {
    const auto& [path, who] = *it;
    if (who != this) {
      ++it;
      continue;
    }
    const auto durable = disk_->durable.find(path);
    // A removal may have reached the disk without its directory's sync, and others not.
    const bool removed = disk_->files.count(path) == 0 && random_.Chance(0.5);
    if (durable == disk_->durable.end() || removed) {
      disk_->files.erase(path);
      disk_->durable.erase(path);
    } else {
      disk_->files[path] = durable->second;
    }
    it = disk_->changed.erase(it);
  }
  for (const auto& [folder, who] : disk_->changed_folders) {
    if (who != this) continue;
    disk_->folders.erase(folder);
    const auto below = [&folder = folder](const auto& entry) { return IsBelow(entry.first, folder); };
    EraseIf(&disk_->files, below);
    EraseIf(&disk_->durable, below);
  }
  EraseIf(&disk_->changed_folders, [this](const auto& entry) { return entry.second == this; });
  for (auto& [path, node] : disk_->files) {
    if (node->writer != this) continue;
    LosePower(*node);
    node->synced = node->bytes;
  }
}

std::unique_ptr<CrashFiles> CrashFiles::Clone() const {
  auto clone = std::make_unique<CrashFiles>(1);
  for (const auto& [path, node] : disk_->files) {
    auto copy = std::make_shared<Node>();
    copy->bytes = copy->synced = node->bytes;
    clone->disk_->files[path] = clone->disk_->durable[path] = std::move(copy);
  }
  return clone;
}

CrashFiles::Node& CrashFiles::NewFile(const std::string& path) {
  std::shared_ptr<Node>& node = disk_->files[path];
  if (node == nullptr) {
    node = std::make_shared<Node>();
    disk_->changed[path] = this;
  }
  node->writer = this;
  node->bytes.clear();
  node->sized = false;
  node->not_synced.clear();
  return *node;
}

absl::StatusOr<std::string> CrashFiles::Read(const std::string& path) {
  RETURN_IF_ERROR(Operate("read"));
  const auto it = disk_->files.find(path);
  if (it == disk_->files.end()) return absl::NotFoundError(absl::StrCat("read ", path, ": no such file"));
  return it->second->bytes;
}

absl::StatusOr<std::unique_ptr<WritableFile>> CrashFiles::Create(const std::string& path) {
  RETURN_IF_ERROR(Operate("create"));
  NewFile(path);
  return std::make_unique<File>(this, disk_->files.at(path));
}

absl::StatusOr<std::unique_ptr<RandomWriteFile>> CrashFiles::CreateSized(const std::string& path, std::uint64_t size) {
  RETURN_IF_ERROR(Operate("create"));
  Node& node = NewFile(path);
  if (Room() < size) return absl::ResourceExhaustedError(absl::StrCat("make room for ", path, ": no space left"));
  node.bytes.assign(size, '\0');
  node.sized = true;
  return std::make_unique<SizedFile>(this, disk_->files.at(path));
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> CrashFiles::Open(const std::string& path) {
  RETURN_IF_ERROR(Operate("open"));
  const auto it = disk_->files.find(path);
  if (it == disk_->files.end()) return absl::NotFoundError(absl::StrCat("open ", path, ": no such file"));
  return std::make_unique<OpenFile>(this, path, it->second);
}

absl::Status CrashFiles::Rename(const std::string& from, const std::string& to) {
  RETURN_IF_ERROR(Operate("rename"));
  const auto it = disk_->files.find(from);
  if (it == disk_->files.end()) return absl::NotFoundError(absl::StrCat("rename ", from, ": no such file"));
  disk_->files[to] = it->second;
  disk_->files.erase(from);
  disk_->changed[from] = disk_->changed[to] = this;
  return absl::OkStatus();
}

absl::Status CrashFiles::Remove(const std::string& path) {
  RETURN_IF_ERROR(Operate("remove"));
  if (disk_->folders.erase(path) > 0) return absl::OkStatus();
  if (disk_->files.erase(path) == 0) return absl::NotFoundError(absl::StrCat("remove ", path));
  disk_->changed[path] = this;
  return absl::OkStatus();
}

absl::Status CrashFiles::MakeDirectories(const std::string& path) {
  RETURN_IF_ERROR(Operate("make directories"));
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string folder = path.substr(0, end);
    if (disk_->folders.insert(folder).second) disk_->changed_folders[folder] = this;
    if (end == path.npos) return absl::OkStatus();
  }
}

absl::StatusOr<std::vector<std::string>> CrashFiles::List(const std::string& directory) {
  RETURN_IF_ERROR(Operate("list"));
  std::set<std::string> names;
  for (const auto& [path, node] : disk_->files) {
    if (!absl::StartsWith(path, directory + "/")) continue;
    const std::string rest = path.substr(directory.size() + 1);
    names.insert(rest.substr(0, rest.find('/')));
  }
  return std::vector<std::string>(names.begin(), names.end());
}

std::string& CrashFiles::Bytes(const std::string& path) {
  if (disk_->files.count(path) == 0) NewFile(path);
  return disk_->files.at(path)->bytes;
}

bool CrashFiles::Exists(const std::string& path) {
  if (disk_->folders.count(path) > 0) return true;
  for (const auto& [name, node] : disk_->files) {
    if (name == path || absl::StartsWith(name, path + "/")) return true;
  }
  return false;
}

absl::StatusOr<std::unique_ptr<FileLock>> CrashFiles::Lock(const std::string& path) {
  RETURN_IF_ERROR(Operate("lock"));
  if (!disk_->locks.emplace(path, this).second) {
    return absl::UnavailableError(absl::StrCat("lock ", path, ": another has it"));
  }
  return std::make_unique<Held>(this, path);
}

absl::Status CrashFiles::SyncFile(const std::string& path) {
  RETURN_IF_ERROR(Operate("sync"));
  const auto it = disk_->files.find(path);
  if (it == disk_->files.end()) return absl::NotFoundError(absl::StrCat("sync ", path, ": no such file"));
  RETURN_IF_ERROR(sync_failure_);
  it->second->synced = it->second->bytes;
  it->second->not_synced.clear();
  return absl::OkStatus();
}

absl::Status CrashFiles::SyncDirectory(const std::string& directory) {
  RETURN_IF_ERROR(Operate("sync directory"));
  EraseIf(&disk_->changed_folders,
          [&](const auto& entry) { return entry.second == this && IsIn(entry.first, directory); });
  for (auto it = disk_->changed.begin(); it != disk_->changed.end();) {
    const auto& [path, who] = *it;
    if (who != this || !IsIn(path, directory)) {
      ++it;
      continue;
    }
    if (const auto file = disk_->files.find(path); file != disk_->files.end()) {
      disk_->durable[path] = file->second;
    } else {
      disk_->durable.erase(path);
    }
    it = disk_->changed.erase(it);
  }
  return absl::OkStatus();
}

}  // namespace leeway
