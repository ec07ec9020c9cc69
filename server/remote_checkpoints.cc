#include "server/remote_checkpoints.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "proto/checkpoint_store.pb.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {
namespace {

// What is read as a whole: an index or a state (checkpoint_index.cc, checkpoint_receiver.h).
constexpr std::uint64_t kMostWhole = 256 << 20;

absl::Status ReadOnly(const std::string& path) {
  return absl::PermissionDeniedError(absl::StrCat(path, ": the checkpoints of ps 0 are only read"));
}

// A directory and a file in it, below the root. INVALID_ARGUMENT.
absl::StatusOr<std::pair<std::string, std::string>> Split(const std::string& root, const std::string& path) {
  if (absl::StartsWith(path, root + "/")) {
    const std::vector<std::string> names = absl::StrSplit(path.substr(root.size() + 1), '/');
    if (names.size() == 2) return std::pair(names[0], names[1]);
  }
  return absl::InvalidArgumentError(absl::StrCat("'", path, "' is no file of a checkpoint at ", root));
}

}  // namespace

class RemoteCheckpoints::File final : public RandomAccessFile {
 public:
  File(const RemoteCheckpoints* from, std::string path, std::pair<std::string, std::string> names)
      : from_(from), path_(std::move(path)) {
    request_.set_directory(std::move(names.first));
    request_.set_file(std::move(names.second));
  }

  // Asks how large it is, and for its beginning.
  absl::StatusOr<Buffer> Begin(std::uint32_t size) {
    ASSIGN_OR_RETURN(auto reply, Ask(0, size));
    size_ = reply.message.bytes();
    return std::move(reply.payload);
  }

  std::uint64_t Size() const override { return size_; }

  absl::Status ReadAt(std::uint64_t offset, std::size_t size, void* out) override {
    if (offset > size_ || size > size_ - offset) {
      return absl::DataLossError(absl::StrCat("read ", path_, ": it ends at byte ", size_));
    }
    for (char* to = static_cast<char*>(out); size > 0;) {
      const std::size_t part = std::min<std::size_t>(size, kPieceBytes);
      ASSIGN_OR_RETURN(const auto reply, Ask(offset, static_cast<std::uint32_t>(part)));
      if (reply.payload.size() != part) {
        return absl::DataLossError(absl::StrCat("read ", path_, ": ", reply.payload.size(), " bytes came from byte ",
                                                offset, " on, of ", part));
      }
      reply.payload.CopyTo(0, part, to);
      to += part;
      offset += part;
      size -= part;
    }
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<Decoded<v1::ReadCheckpointReply>> Ask(std::uint64_t offset, std::uint32_t size) const {
    v1::ReadCheckpointRequest request = request_;
    request.set_offset(offset);
    request.set_size(size);
    return from_->calls_->Call<v1::ReadCheckpointReply>("Read", request, {}, from_->go_on_);
  }

  const RemoteCheckpoints* const from_;
  const std::string path_;
  v1::ReadCheckpointRequest request_;
  std::uint64_t size_ = 0;
};

absl::StatusOr<std::string> RemoteCheckpoints::Read(const std::string& path) {
  ASSIGN_OR_RETURN(auto names, Split(root(), path));
  File file(this, path, std::move(names));
  // A small file comes with the first answer.
  ASSIGN_OR_RETURN(const Buffer begin, file.Begin(kPieceBytes));
  if (file.Size() > kMostWhole) {
    return absl::DataLossError(absl::StrCat(path, ": it has ", file.Size(), " bytes; at most ", kMostWhole));
  }
  if (begin.size() != std::min(file.Size(), kPieceBytes)) {
    return absl::DataLossError(absl::StrCat("read ", path, ": ", begin.size(), " bytes came of ", file.Size()));
  }
  std::string bytes = begin.ToString();
  bytes.resize(file.Size());
  RETURN_IF_ERROR(file.ReadAt(begin.size(), bytes.size() - begin.size(), bytes.data() + begin.size()));
  return bytes;
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> RemoteCheckpoints::Open(const std::string& path) {
  ASSIGN_OR_RETURN(auto names, Split(root(), path));
  auto file = std::make_unique<File>(this, path, std::move(names));
  RETURN_IF_ERROR(file->Begin(0).status());
  return file;
}

absl::StatusOr<std::vector<std::string>> RemoteCheckpoints::List(const std::string& directory) {
  v1::ListCheckpointsRequest request;
  if (directory != root()) {
    ASSIGN_OR_RETURN(auto names, Split(root(), directory + "/."));
    request.set_directory(std::move(names.first));
  }
  ASSIGN_OR_RETURN(const auto reply, calls_->Call<v1::ListCheckpointsReply>("List", request, {}, go_on_));
  return std::vector<std::string>(reply.message.names().begin(), reply.message.names().end());
}

bool RemoteCheckpoints::Exists(const std::string& path) { return path == root() || Open(path).ok(); }

absl::StatusOr<std::unique_ptr<WritableFile>> RemoteCheckpoints::Create(const std::string& path) {
  return ReadOnly(path);
}
absl::StatusOr<std::unique_ptr<RandomWriteFile>> RemoteCheckpoints::CreateSized(const std::string& path,
                                                                                std::uint64_t) {
  return ReadOnly(path);
}
absl::Status RemoteCheckpoints::Rename(const std::string& from, const std::string&) { return ReadOnly(from); }
absl::Status RemoteCheckpoints::Remove(const std::string& path) { return ReadOnly(path); }
absl::Status RemoteCheckpoints::MakeDirectories(const std::string& path) { return ReadOnly(path); }
absl::StatusOr<std::unique_ptr<FileLock>> RemoteCheckpoints::Lock(const std::string& path) { return ReadOnly(path); }
absl::Status RemoteCheckpoints::SyncFile(const std::string& path) { return ReadOnly(path); }

absl::Status RemoteCheckpoints::SyncDirectory(const std::string& directory) { return ReadOnly(directory); }

}  // namespace leeway
