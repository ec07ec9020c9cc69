#include "cli/bench/journaled_push.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "server/recover_shard.h"

namespace leeway {
namespace {

constexpr std::size_t kPiece = 4 << 20;  // bytes

std::string Disk(const std::string& folder) { return folder + "/disk"; }

}  // namespace

absl::StatusOr<std::unique_ptr<JournaledPush>> JournaledPush::Start(RunOptions options, std::uint64_t elements,
                                                                    const std::function<bool(absl::Duration)>& wait) {
  options.directory += "/journaled";
  RETURN_IF_ERROR(RealFileSystem().MakeDirectories(options.directory));
  options.ps_flags.push_back("--checkpoint_dir=" + Disk(options.directory));
  options.ps_flags.push_back("--journal=on");
  options.ps_flags.push_back("--checkpoint_interval=inf");
  std::unique_ptr<JournaledPush> started(new JournaledPush(std::move(options)));
  RETURN_IF_ERROR(started->cluster_.Start(wait));
  const std::string address = started->cluster_.coordinator();
  ASSIGN_OR_RETURN(started->client_, ShardClient::Join(address, "bench-journal", elements));
  started->client_->UseAddress(address);
  return started;
}

pid_t JournaledPush::pid() const { return cluster_.Pid(PsName(0)); }

absl::Status JournaledPush::Push() {
  RETURN_IF_ERROR(client_->Push());
  const std::string journal = JournalDirectory(Disk(folder_), 0);
  ASSIGN_OR_RETURN(std::vector<std::string> names, RealFileSystem().List(journal));
  names.erase(
      std::remove_if(names.begin(), names.end(), [](const auto& name) { return !absl::EndsWith(name, ".log"); }),
      names.end());
  for (std::size_t i = 0; i + 1 < names.size(); ++i) RETURN_IF_ERROR(RealFileSystem().Remove(journal + "/" + names[i]));
  return absl::OkStatus();
}

absl::Status JournaledPush::Write(const std::vector<float>& bytes) {
  const auto path = [this](std::uint64_t number) { return absl::StrCat(folder_, "/write-", number); };
  ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, RealFileSystem().Create(path(++writes_)));
  const char* data = reinterpret_cast<const char*>(bytes.data());
  const std::size_t size = bytes.size() * sizeof(float);
  for (std::size_t at = 0; at < size; at += kPiece) {
    RETURN_IF_ERROR(file->Append(data + at, std::min(kPiece, size - at)));
  }
  return writes_ > 1 ? RealFileSystem().Remove(path(writes_ - 1)) : absl::OkStatus();
}

}  // namespace leeway
