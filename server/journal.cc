#include "server/journal.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/codec.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace leeway {

std::string JournalFileName(std::uint64_t number) { return absl::StrFormat("%08d.log", number); }

Journal::Journal(const Options& options, FileSystem* files, Clock* clock, Executor* executor)
    : options_(options),
      files_(files),
      clock_(clock),
      executor_(executor),
      next_file_(options.next_file),
      next_sequence_(options.next_sequence),
      written_(options.next_sequence - 1),
      first_in_file_(options.old_files) {}

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(const Options& options, FileSystem* files, Clock* clock,
                                                       Executor* executor) {
  RETURN_IF_ERROR(MakeDurableDirectories(*files, options.directory));
  // What a process that was killed had not synced yet counts as written, too, now that it was read.
  for (const auto& [number, first] : options.old_files) {
    if (!options.fsync || first == 0) continue;
    RETURN_IF_ERROR(files->SyncFile(absl::StrCat(options.directory, "/", JournalFileName(number))));
  }
  std::unique_ptr<Journal> journal(new Journal(options, files, clock, executor));
  const absl::Status begun = journal->BeginFile(options.next_sequence);
  // On a full disk the first record waits for room, as later ones do.
  if (absl::IsResourceExhausted(begun)) {
    spdlog::error("journal {}: pushes will wait: {}", options.directory, begun);
    return journal;
  }
  RETURN_IF_ERROR(begun);
  return journal;
}

absl::Status Journal::BeginFile(std::uint64_t first_sequence) {
  writer_.reset();
  RemoveWorthless(first_sequence);
  const std::string path = absl::StrCat(options_.directory, "/", JournalFileName(next_file_));
  ASSIGN_OR_RETURN(std::unique_ptr<RecordWriter> writer, RecordWriter::Create(*files_, path));
  v1::JournalRecord record;
  *record.mutable_header() = options_.header;
  record.mutable_header()->set_format(kJournalFormat);
  record.mutable_header()->set_first_sequence(first_sequence);
  RETURN_IF_ERROR(writer->Append(EncodeMessage(record)));
  RETURN_IF_ERROR(writer->Flush());
  if (options_.fsync) RETURN_IF_ERROR(files_->SyncDirectory(options_.directory));
  writer_ = std::move(writer);
  MutexLock lock(mu_);
  first_in_file_[next_file_++] = first_sequence;
  return absl::OkStatus();
}

// A file that failed before any of its records counted only takes room, of which there is none: they begin the next
// one.
void Journal::RemoveWorthless(std::uint64_t first_sequence) {
  std::uint64_t number = 0;
  {
    MutexLock lock(mu_);
    if (first_in_file_.empty() || first_in_file_.rbegin()->second < first_sequence) return;
    number = first_in_file_.rbegin()->first;
    first_in_file_.erase(number);
  }
  files_->Remove(absl::StrCat(options_.directory, "/", JournalFileName(number))).IgnoreError();
}

absl::Status Journal::RemoveBefore(std::uint64_t sequence) {
  for (;;) {
    std::uint64_t number = 0;
    {
      // In order, so that what is left is without a gap.
      MutexLock lock(mu_);
      const auto oldest = first_in_file_.begin();
      if (oldest == first_in_file_.end() || std::next(oldest) == first_in_file_.end()) return absl::OkStatus();
      if (std::next(oldest)->second > sequence) return absl::OkStatus();
      number = oldest->first;
    }
    const absl::Status removed = files_->Remove(absl::StrCat(options_.directory, "/", JournalFileName(number)));
    // (Gone already: over NFS an answer may be lost, and the system asks again. The others are to go all the same.)
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
    MutexLock lock(mu_);
    first_in_file_.erase(number);
  }
}

absl::Status Journal::Write(const std::deque<Queued>& records, std::size_t* written) {
  std::uint64_t unsynced = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (writer_ == nullptr || writer_->bytes() > options_.file_bytes) {
      if (writer_ != nullptr) RETURN_IF_ERROR(Harden());
      *written = i;
      unsynced = 0;
      RETURN_IF_ERROR(BeginFile(records[i].sequence));
    }
    RETURN_IF_ERROR(writer_->Append(records[i].body));
    // So that a disk that becomes full in the middle of much keeps what it had room for.
    unsynced += records[i].body.size();
    if (unsynced < kHardenEvery) continue;
    RETURN_IF_ERROR(Harden());
    *written = i + 1;
    unsynced = 0;
  }
  RETURN_IF_ERROR(Harden());
  *written = records.size();
  return absl::OkStatus();
}

absl::Status Journal::Harden() { return options_.fsync ? writer_->Sync() : writer_->Flush(); }

std::uint64_t Journal::Append(v1::JournalRecord record, const Buffer& payload) {
  MutexLock lock(mu_);
  const std::uint64_t sequence = next_sequence_++;
  record.set_sequence(sequence);
  record.set_written(written_);
  queue_.push_back({sequence, EncodeMessage(record, payload)});
  queued_bytes_ += queue_.back().body.size();
  if (!writing_) {
    writing_ = true;
    executor_->Post([this] { WriteQueued(); });
  }
  return sequence;
}

void Journal::WriteQueued() {
  std::deque<Queued> records;
  {
    MutexLock lock(mu_);
    records.swap(queue_);
  }
  std::size_t written = 0;
  const absl::Status status = Write(records, &written);
  if (!status.ok()) writer_.reset();  // what it has of the others is written again, to a new file
  const auto rest = records.begin() + static_cast<std::ptrdiff_t>(written);
  std::vector<Done> done;     // for `status` OK
  std::vector<Done> refused;  // stopped, and the disk fails
  {
    MutexLock lock(mu_);
    for (auto it = records.begin(); it != rest; ++it) {
      queued_bytes_ -= it->body.size();
      bytes_ += it->body.size();
      written_ = it->sequence;
    }
    const auto end = waiting_.upper_bound(written_);
    for (auto it = waiting_.begin(); it != end; ++it) done.push_back(std::move(it->second));
    waiting_.erase(waiting_.begin(), end);
    queue_.insert(queue_.begin(), std::make_move_iterator(rest), std::make_move_iterator(records.end()));
    if (status.ok()) {
      if (!failure_.ok()) spdlog::info("journal {}: goes on", options_.directory);
      writing_ = !queue_.empty();
      if (writing_) executor_->Post([this] { WriteQueued(); });
    } else {
      if (complain_.Due(clock_->Now())) spdlog::error("journal {}: pushes wait: {}", options_.directory, status);
      if (stopped_) {
        refused = TakeAllWaiting();
      } else {
        timer_ = clock_->RunAt(clock_->Now() + kTryAgain, [this] { executor_->Post([this] { WriteQueued(); }); });
      }
    }
    failure_ = status;
  }
  records.clear();
  for (const Done& callback : done) callback(absl::OkStatus());
  for (const Done& callback : refused) callback(status);
}

std::vector<Journal::Done> Journal::TakeAllWaiting() {
  std::vector<Done> all;
  for (auto& [sequence, done] : waiting_) all.push_back(std::move(done));
  waiting_.clear();
  return all;
}

void Journal::WhenWritten(std::uint64_t sequence, Done done) {
  absl::Status status;
  {
    MutexLock lock(mu_);
    if (stopped_ && !failure_.ok()) {
      status = failure_;
    } else if (sequence > written_) {
      waiting_.emplace(sequence, std::move(done));
      return;
    }
  }
  done(status);
}

void Journal::Stop() {
  std::vector<Done> given_up;
  absl::Status failure;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    failure = failure_;
    if (!failure.ok()) {
      clock_->Cancel(timer_);
      given_up = TakeAllWaiting();
    }
  }
  for (const Done& done : given_up) done(failure);
}

absl::Status Journal::Ready() {
  MutexLock lock(mu_);
  if (!failure_.ok()) {
    return absl::UnavailableError(absl::StrCat("the journal cannot be written: ", failure_.message()));
  }
  if (queued_bytes_ > options_.max_queued_bytes) {
    return absl::UnavailableError(absl::StrCat(queued_bytes_, " bytes wait to be written to the journal in ",
                                               options_.directory, "; at most ", options_.max_queued_bytes, " do"));
  }
  return absl::OkStatus();
}

std::uint64_t Journal::last_sequence() {
  MutexLock lock(mu_);
  return next_sequence_ - 1;
}

std::uint64_t Journal::written() {
  MutexLock lock(mu_);
  return written_;
}

std::uint64_t Journal::bytes() {
  MutexLock lock(mu_);
  return bytes_;
}

}  // namespace leeway
