#include "server/checkpoint_store.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/codec.h"
#include "common/retry.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {
namespace {

static_assert(CheckpointStore::kMostCalls * kPieceBytes == 64 << 20, "what server/memory_cap.h counts");
constexpr absl::Duration kComeBack = absl::Milliseconds(50);  // some pieces' time on a disk

// What a hostile caller names is shown as it is, but shortened and in letters.
std::string Shown(const std::string& name) { return absl::CHexEscape(name.substr(0, 100)); }

absl::Status CheckDirectory(const std::string& name) {
  if (StepOfDirectoryName(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", Shown(name), "' is no checkpoint's directory"));
}

// Within its directory: no way leads out of it.
absl::Status CheckFile(const std::string& name) {
  const bool plain =
      !name.empty() && name != "." && name != ".." && name.find('/') == name.npos && name.find('\0') == name.npos;
  if (plain) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", Shown(name), "' is no file of a checkpoint"));
}

// What is read, and its place among the calls until it is sent.
struct Piece {
  std::shared_ptr<const void> slot;
  std::vector<char> bytes;
};

}  // namespace

CheckpointStore::CheckpointStore(std::string directory, FileSystem* files, Executor* executor)
    : directory_(std::move(directory)), files_(files), executor_(executor), receiver_(files, directory_) {}

void CheckpointStore::UnderWay(const v1::Cut& cut, const Placement& placement) {
  executor_->Post([this, cut, placement] { receiver_.Follow(cut, placement); });
}

CheckpointStore::Slot CheckpointStore::Enter() {
  Slot slot(calls_.get(), [calls = calls_](const void*) { calls->fetch_sub(1); });
  return calls_->fetch_add(1) < kMostCalls ? slot : nullptr;
}

void CheckpointStore::Handle(const std::string& method, Buffer request, ReplyCallback done) {
  if (method != "Write" && method != "Read" && method != "List") {
    return done(absl::UnimplementedError(absl::StrCat("CheckpointStore: no method '", Shown(method), "'")), {});
  }
  Slot slot = Enter();
  if (slot == nullptr) {
    return done(WithRetryAfter(absl::ResourceExhaustedError(
                                   absl::StrCat("ps 0 serves ", kMostCalls, " calls for checkpoints already")),
                               kComeBack),
                {});
  }
  executor_->Post([this, method, slot = std::move(slot), request = std::move(request), done = std::move(done)] {
    if (method == "Write") return Write(request, done);
    if (method == "Read") return Read(request, slot, done);
    List(request, done);
  });
}

void CheckpointStore::Write(const Buffer& request, const ReplyCallback& done) {
  v1::WriteCheckpointRequest header;
  Buffer payload;
  v1::WriteCheckpointReply reply;
  const auto write = [&]() -> absl::Status {
    RETURN_IF_ERROR(DecodeMessage(request, &header, &payload));
    ASSIGN_OR_RETURN(const bool complete, receiver_.Write(header, payload));
    reply.set_complete(complete);
    return absl::OkStatus();
  };
  const absl::Status status = write();
  done(status, status.ok() ? EncodeMessage(reply) : Buffer());
}

void CheckpointStore::Read(const Buffer& request, const Slot& slot, const ReplyCallback& done) {
  const auto piece = std::make_shared<Piece>();
  piece->slot = slot;
  v1::ReadCheckpointReply reply;
  const auto read = [&]() -> absl::Status {
    v1::ReadCheckpointRequest header;
    RETURN_IF_ERROR(DecodeMessage(request, &header));
    RETURN_IF_ERROR(CheckDirectory(header.directory()));
    RETURN_IF_ERROR(CheckFile(header.file()));
    if (header.size() > kPieceBytes) {
      return absl::InvalidArgumentError(absl::StrCat(header.size(), " bytes at once; at most ", kPieceBytes));
    }
    ASSIGN_OR_RETURN(const auto file,
                     files_->Open(absl::StrCat(directory_, "/", header.directory(), "/", header.file())));
    reply.set_bytes(file->Size());
    const std::uint64_t left = file->Size() - std::min(file->Size(), header.offset());
    piece->bytes.resize(std::min<std::uint64_t>(left, header.size()));
    return piece->bytes.empty() ? absl::OkStatus()
                                : file->ReadAt(header.offset(), piece->bytes.size(), piece->bytes.data());
  };
  const absl::Status status = read();
  if (!status.ok()) return done(status, {});
  done(status,
       EncodeMessage(reply,
                     piece->bytes.empty() ? Buffer() : Buffer::Wrap(piece, piece->bytes.data(), piece->bytes.size())));
}

void CheckpointStore::List(const Buffer& request, const ReplyCallback& done) {
  v1::ListCheckpointsReply reply;
  const auto list = [&]() -> absl::Status {
    v1::ListCheckpointsRequest header;
    RETURN_IF_ERROR(DecodeMessage(request, &header));
    const bool all = header.directory().empty();
    if (!all) RETURN_IF_ERROR(CheckDirectory(header.directory()));
    ASSIGN_OR_RETURN(const std::vector<std::string> names,
                     files_->List(all ? directory_ : absl::StrCat(directory_, "/", header.directory())));
    for (const std::string& name : names) {
      if (!all || StepOfDirectoryName(name)) reply.add_names(name);
    }
    return absl::OkStatus();
  };
  const absl::Status status = list();
  done(status, status.ok() ? EncodeMessage(reply) : Buffer());
}

}  // namespace leeway
