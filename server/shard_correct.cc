// Shard: delay_policy=dc. What a worker was given for a step is kept until its push of that step has its verdict, and
// the gradient is corrected by how far the weights have moved since (docs/adr/0021-delay-compensation.md).
#include <algorithm>
#include <utility>

#include "server/delay_policy.h"
#include "server/shard.h"

namespace leeway {

// --- Pulls -----------------------------------------------------------------------------------------------

std::shared_ptr<GivenWeights> Shard::KeepGiven(const v1::PullRequest& pull) {
  const MemberInfo& member = members_.at(pull.stamp().worker_id());
  if (member.proto.state() == v1::OBSERVER || pull.run().num_blocks() == 0) return nullptr;
  if (!CorrectsDelay(book_.OfAdmitted(pull.stamp().worker_id(), pull.stamp().incarnation(), pull.clock()))) {
    return nullptr;
  }
  // Only a step whose push can still come.
  const bool near = pull.clock() < member.window.clock() + PushWindow::kAhead;
  if (!near || !member.window.Open(pull.clock())) return nullptr;
  const std::uint64_t limit = options_.max_held_bytes / 2;
  const auto trainers = std::count_if(members_.begin(), members_.end(),
                                      [](const auto& entry) { return entry.second.proto.state() != v1::OBSERVER; });
  return given_.Open(pull.stamp().incarnation(), pull, *placement_, limit - std::min(limit, deltas_.bytes()),
                     static_cast<std::size_t>(trainers));
}

Buffer Shard::Give(CopyJob* job) {
  bool first = false;
  Buffer payload;
  const GivenWeights::Values given = job->given->GetOrMake([&] {
    first = true;
    GivenWeights::Values values;
    payload = ReadWeights(job, &values.payload);
    values.encoding = job->reply.encoding() == v1::BF16 ? v1::BF16 : v1::F32;
    values.version = job->reply.version();
    values.ticket_watermark = job->reply.ticket_watermark();
    return values;
  });
  if (first) return payload;
  job->reply.set_version(given.version);
  job->reply.set_ticket_watermark(given.ticket_watermark);
  if (job->copy == nullptr) return given.payload;
  // The worker is brought to these values, also where it has had none of the answers.
  const ChunkRun run = job->given->run();
  const Placement& placement = job->store->placement();
  return job->copy
      ->Update(0, job->reply.sequence(),
               [&](std::uint32_t i, float* out) {
                 const std::uint64_t block = run.first_block + std::uint64_t{i} * placement.num_shards();
                 given.payload.CopyTo(i * placement.block_elements() * sizeof(float),
                                      placement.BlockSize(block) * sizeof(float), out);
               })
      .payload;
}

// --- Pushes ----------------------------------------------------------------------------------------------

std::uint64_t Shard::CorrectedBytes(const v1::PushRequest& header) const {
  if (!placement_ || header.null_verdict() != v1::VERDICT_NONE || !CorrectsDelay(PolicyOf(header))) return 0;
  return placement_->RunElements(placement_->Chunk(options_.index, header.chunk())) * sizeof(float);
}

void Shard::FindGiven(ChunkJob* job) {
  const v1::PushRequest& header = job->push->message;
  const v1::Policy& policy = PolicyOf(header);
  if (!CorrectsDelay(policy)) return;
  GivenBook::Found found = given_.Of(header.stamp().incarnation(), header.clock(),
                                     {header.run().first_block(), header.run().num_blocks()}, options_.num_shards);
  job->given = std::move(found.given);
  job->lambda = policy.dc_lambda();
  if (found.whole) {
    stats_.set_chunks_corrected(stats_.chunks_corrected() + 1);
  } else {
    stats_.set_chunks_uncorrected(stats_.chunks_uncorrected() + 1);
  }
}

std::uint64_t Shard::ApplyChunk(const ChunkJob& job) {
  const v1::PushRequest& header = job.push->message;
  const auto apply = [&] {
    job.store->Apply({header.run().first_block(), header.run().num_blocks()}, header.encoding(), job.push->payload,
                     job.rate);
  };
  if (journal_ == nullptr && job.cut == nullptr) {
    job.given.empty() ? apply() : ApplyCorrected(job);
    return 0;
  }
  MutexLock order(job.store->ChunkMutex(header.chunk()));
  if (job.cut != nullptr) job.cut->BeforeUpdate(header.chunk());
  if (!job.given.empty()) ApplyCorrected(job);  // which says what there is to record
  const std::uint64_t record = JournalChunk(job, v1::APPLIED);
  if (job.given.empty()) apply();
  return record;
}

void Shard::ApplyCorrected(const ChunkJob& job) {
  v1::PushRequest& header = job.push->message;
  std::vector<BlockStore::Base> bases;
  for (const std::shared_ptr<GivenWeights>& given : job.given) {
    GivenWeights::Values values = given->Get();
    if (!values.payload.empty()) bases.push_back({given->run(), values.encoding, std::move(values.payload)});
  }
  Buffer corrected =
      job.store->ApplyCorrected({header.run().first_block(), header.run().num_blocks()}, header.encoding(),
                                job.push->payload, bases, job.lambda, job.rate, journal_ != nullptr);
  if (journal_ == nullptr) return;
  // The journal has what the step was made with: carried out again, it needs to know nobody's weights.
  corrected.Keep(budget_.TakeAnyway(header.stamp().worker_id(), corrected.size()));
  job.push->payload = std::move(corrected);
  header.set_encoding(v1::F32);
}

}  // namespace leeway
