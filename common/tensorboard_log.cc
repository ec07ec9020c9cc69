#include "common/tensorboard_log.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

std::string HostName() {
  char host[256] = "";
  if (gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  return FolderName(host);
}

Instant Now() {
  return {std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
              .count()};
}

}  // namespace

std::string FolderName(const std::string& name) {
  std::string folder;
  for (const char c : name)
    folder += absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' ? c : '_';
  if (folder.empty() || folder[0] == '.') folder = "_" + folder;
  return folder;
}

TensorBoardLog::TensorBoardLog(const Options& options, FileSystem* files, Sampler sampler)
    : options_(options), files_(files), sampler_(std::move(sampler)), thread_([this] { Loop(); }) {}

TensorBoardLog::~TensorBoardLog() {
  {
    MutexLock lock(mu_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void TensorBoardLog::Loop() {
  const auto interval = absl::ToChronoNanoseconds(options_.interval);
  auto next = std::chrono::steady_clock::now() + interval;
  for (;;) {
    bool last = false;
    {
      MutexLock lock(mu_);
      while (!stopped_ && std::chrono::steady_clock::now() < next) changed_.WaitUntil(mu_, next);
      last = stopped_;
    }
    WriteSample();
    if (last) return;
    // From now: after a pause of the disk there is no burst of samples.
    next = std::chrono::steady_clock::now() + interval;
  }
}

void TensorBoardLog::WriteSample() {
  std::optional<Scalars> sample = sampler_();
  if (!sample) return;
  sample->wall_time = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  const absl::Status status = Append(*sample);
  if (status.ok()) return;
  file_.reset();
  if (complain_.Due(Now())) spdlog::warn("--tensorboard_dir={}: {}", options_.directory, status);
}

absl::Status TensorBoardLog::Append(const Scalars& scalars) {
  if (file_ == nullptr || file_->bytes() >= options_.max_file_bytes) RETURN_IF_ERROR(BeginFile(scalars.wall_time));
  return file_->Append(scalars);
}

absl::Status TensorBoardLog::BeginFile(double wall_time) {
  file_.reset();
  RETURN_IF_ERROR(files_->MakeDirectories(options_.directory));
  while (paths_.size() >= options_.max_files) {
    const absl::Status removed = files_->Remove(paths_.front());
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;  // or they would become more and more
    paths_.pop_front();
  }
  const std::string path = absl::StrCat(
      options_.directory, "/", EventFileName(static_cast<std::int64_t>(wall_time), HostName(), getpid(), begun_++));
  paths_.push_back(path);  // also when it cannot be written: a part of it may be there
  ASSIGN_OR_RETURN(file_, EventFile::Create(*files_, path, wall_time));
  return absl::OkStatus();
}

}  // namespace leeway
