// Shard: the journal. What changes a shard's state becomes a record; a record, carried out again, changes it in the
// same way (docs/adr/0011-journal-of-inputs.md).
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/payload.h"
#include "server/shard.h"

namespace leeway {
namespace {

absl::Status Foreign(const std::string& what) { return absl::DataLossError(absl::StrCat("a record of ", what)); }

}  // namespace

void Shard::UseJournal(Journal* journal, std::uint64_t replayed) {
  journal_ = journal;
  MutexLock lock(mu_);
  for (auto& [id, member] : members_) {
    member.recovered = true;
    // A pull names at most so many steps more than its worker's own that must be in it (protocol-rules.md 3). A round
    // may have been closed, and read after, whose close the journal has not.
    member.may_have_pulled =
        member.window.clock() + member.proto.pipeline_depth() + (aggregation() == v1::ROUND ? 2 : 1);
  }
  journal_replayed_ = replayed;
  journal_found_ = journal->last_sequence();
  unconfirmed_ = run_id_ != 0;
}

void Shard::WhenWritten(Journal::Done done) {
  if (journal_ == nullptr) return done(absl::OkStatus());
  journal_->WhenWritten(journal_->last_sequence(), std::move(done));
}

void Shard::AfterRecord(std::uint64_t record, const ReplyCallback& done, std::function<void()> work) {
  if (record == 0) return work();
  journal_->WhenWritten(record, [this, done, work = std::move(work)](const absl::Status& status) {
    executor_->Post([done, work, status] {
      if (status.ok()) return work();
      done(absl::UnavailableError(absl::StrCat("the journal could not be written: ", status.message())), {});
    });
  });
}

// --- Records ---------------------------------------------------------------------------------------------

std::uint64_t Shard::JournalSnapshot(const v1::WatchReply& snapshot, bool new_model) {
  if (journal_ == nullptr) return 0;
  v1::JournalRecord record;
  *record.mutable_snapshot() = snapshot;
  if (!new_model) record.mutable_snapshot()->clear_manifest();  // it may be large, and stands in an earlier one
  return journal_->Append(std::move(record));
}

std::uint64_t Shard::JournalChunk(const ChunkJob& job, v1::Verdict verdict) {
  if (journal_ == nullptr) return 0;
  v1::JournalRecord record;
  *record.mutable_chunk()->mutable_push() = job.push->message;
  record.mutable_chunk()->set_verdict(verdict);
  record.mutable_chunk()->set_rate(job.rate);
  record.mutable_chunk()->set_corrected(!job.given.empty() && verdict == v1::APPLIED);
  return journal_->Append(std::move(record), verdict == v1::REFUSED ? Buffer() : job.push->payload);
}

std::uint64_t Shard::JournalNullPush(const v1::PushRequest& header) {
  if (journal_ == nullptr) return 0;
  v1::JournalRecord record;
  *record.mutable_null_push() = header;
  return journal_->Append(std::move(record));
}

std::uint64_t Shard::JournalWeights(const v1::PutWeightsRequest& header, const Buffer& payload) {
  if (journal_ == nullptr) return 0;
  v1::JournalRecord record;
  *record.mutable_weights() = header;
  return journal_->Append(std::move(record), payload);
}

// --- Replay ----------------------------------------------------------------------------------------------

absl::Status Shard::Replay(const v1::JournalRecord& record, const Buffer& payload) {
  replaying_ = true;
  absl::Status status;
  switch (record.input_case()) {
    case v1::JournalRecord::kHeader:
      break;
    case v1::JournalRecord::kSnapshot:
      status = ApplySnapshot(record.snapshot());
      break;
    case v1::JournalRecord::kChunk:
      status = ReplayChunk(record.chunk(), payload);
      break;
    case v1::JournalRecord::kNullPush:
      status = ReplayNullPush(record.null_push());
      break;
    case v1::JournalRecord::kWeights:
      status = ReplayWeights(record.weights(), payload);
      break;
    case v1::JournalRecord::INPUT_NOT_SET:
      status = Foreign("a kind that this version does not know");
  }
  replaying_ = false;
  return status;
}

absl::Status Shard::ReplayChunk(const v1::JournaledChunk& chunk, const Buffer& payload) {
  ChunkJob job{std::make_shared<Decoded<v1::PushRequest>>(), [](const absl::Status&, const Buffer&) {}, nullptr,
               chunk.rate(), nullptr};
  job.push->message = chunk.push();
  job.push->payload = payload;
  const v1::PushRequest& header = chunk.push();
  {
    MutexLock lock(mu_);
    if (store_ == nullptr) return Foreign("a chunk before any of the model");
    if (chunk.verdict() != v1::APPLIED && chunk.verdict() != v1::HELD && chunk.verdict() != v1::REFUSED) {
      return Foreign(absl::StrCat("a chunk with verdict ", chunk.verdict()));
    }
    RETURN_IF_ERROR(chunk.verdict() == v1::REFUSED ? CheckChunk(header) : CheckPush(*job.push));
    job.store = store_;
    // Whether the worker has left meanwhile or not: what was applied is applied.
    if (const auto it = members_.find(header.stamp().worker_id()); IsMember(header.stamp())) {
      it->second.window.Begin(header.clock(), header.chunk(), header.chunk_count()).IgnoreError();
      open_pushes_.try_emplace({header.stamp().worker_id(), header.clock()}, header);
    } else if (PushWindow* departed = departed_.Find(header.stamp().incarnation()); departed != nullptr) {
      // It was begun before its worker left, and recorded after that.
      departed->Begin(header.clock(), header.chunk(), header.chunk_count()).IgnoreError();
    }
    if (chunk.verdict() == v1::HELD) {
      job.push->payload.Keep(budget_.TakeAnyway(header.stamp().worker_id(), payload.size()));
    }
  }
  if (chunk.verdict() == v1::APPLIED) {
    job.store->Apply({header.run().first_block(), header.run().num_blocks()}, header.encoding(), payload, chunk.rate());
  }
  FinishChunk(job, chunk.verdict(), absl::OkStatus());
  return absl::OkStatus();
}

absl::Status Shard::ReplayNullPush(const v1::PushRequest& header) {
  Actions actions;
  {
    MutexLock lock(mu_);
    if (store_ == nullptr) return Foreign("a null push before any of the model");
    if (!IsMember(header.stamp())) return absl::OkStatus();
    Held held;
    held.push = std::make_shared<Decoded<v1::PushRequest>>();
    held.push->message = header;
    held.done = [](const absl::Status&, const Buffer&) {};
    AcceptNullPush(held, members_.at(header.stamp().worker_id()), &actions);
  }
  Run(actions);
  return absl::OkStatus();
}

absl::Status Shard::ReplayWeights(const v1::PutWeightsRequest& header, const Buffer& payload) {
  Actions actions;
  {
    MutexLock lock(mu_);
    if (store_ == nullptr) return Foreign("weights before any of the model");
    RETURN_IF_ERROR(CheckRun(header.run()));
    RETURN_IF_ERROR(CheckPayload(*placement_, header.run(), v1::F32, payload, "weights"));
    InstallWeights(header.run(), payload, &actions);
  }
  Run(actions);
  return absl::OkStatus();
}

}  // namespace leeway
