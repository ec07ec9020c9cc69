// Shard: rounds. The coordinator closes them; here the sum is taken, chunk by chunk, on the executor.
#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/schedule.h"
#include "server/shard.h"

namespace leeway {

v1::ReportRoundRequest Shard::DescribeRound() {
  MutexLock lock(mu_);
  v1::ReportRoundRequest request;
  request.set_shard_index(options_.index);
  request.set_run_id(run_id_);
  request.set_round(open_round_);
  request.set_generation(options_.generation);
  if (journal_ != nullptr) request.set_journaled(journal_->written());
  // (What is held when the run ends stays without its round: nobody closes one any more.)
  if (aggregation() != v1::ROUND || closing_ || state_ >= v1::FINISHING) return request;
  for (v1::RoundContribution& contribution : rounds_.Whole(open_round_)) {
    *request.add_complete() = std::move(contribution);
  }
  return request;
}

std::vector<WorkerId> Shard::MissingInRound() const {
  std::vector<WorkerId> missing;
  for (const auto& [id, member] : members_) {
    const bool expected = member.proto.state() == v1::LIVE && member.proto.entry_clock() <= open_round_;
    if (expected && !rounds_.IsWhole(open_round_, member.proto.rank())) missing.push_back(id);
  }
  return missing;
}

void Shard::WatchRound(const Buffer& request, ReplyCallback done) {
  auto held = std::make_unique<Held>();
  held->kind = Held::kWatchRound;
  if (absl::Status status = DecodeMessage(request, &held->watch, kMaxRequestHeaderBytes); !status.ok()) {
    return done(status, {});
  }
  held->done = std::move(done);
  const absl::Duration limit = absl::Milliseconds(held->watch.wait_millis());
  Actions actions;
  {
    MutexLock lock(mu_);
    Hold(std::move(held), limit, &actions);
  }
  Run(actions);
}

// It is no pull: nothing is counted, no step of its asker begins, and no policy is asked.
bool Shard::AttemptWatchRound(Held& held, Actions* actions) {
  absl::StatusOr<StampCheck> stamp = CheckStamp(held.watch.stamp());
  const bool known = stamp.ok() && *stamp == StampCheck::kOk;
  if (known && aggregation() != v1::ROUND) {
    stamp = absl::InvalidArgumentError(
        absl::StrCat("shard ", options_.index, ": a round is watched, and --aggregation=each has none"));
  }
  if (!stamp.ok()) {
    actions->push_back([done = std::move(held.done), status = stamp.status()] { done(status, {}); });
    return true;
  }
  const bool over = known && (open_round_ > held.watch.round() || state_ >= v1::FINISHING);
  if (!over && !held.expired) return false;
  v1::WatchRoundReply reply;
  reply.set_open_round(open_round_);
  reply.set_finishing(state_ >= v1::FINISHING);
  actions->push_back([done = std::move(held.done), reply] { Reply(done, reply); });
  return true;
}

void Shard::CountLeftOut(std::uint32_t rank, std::uint64_t step, bool refused) {
  std::uint64_t& next = left_out_[rank];
  if (step < next) return;
  next = step + 1;
  if (refused) {
    stats_.set_pushes_refused(stats_.pushes_refused() + 1);
  } else {
    stats_.set_pushes_dropped(stats_.pushes_dropped() + 1);
  }
}

void Shard::StartClose(Actions* actions) {
  if (closing_ || copies_under_way_ > 0 || closes_.empty() || closes_.front().round() != open_round_) return;
  closing_ = Closing();
  closing_->close = std::move(closes_.front());
  closes_.pop_front();
  closing_->contributions = rounds_.Take(open_round_);
  closing_->rate = RateAt(book_.OfRound(open_round_).schedule(), samples_);
  closing_->cut = store_cut_;
  const std::uint32_t chunks = placement_->ShardChunks(options_.index);
  if (closing_->close.samples() == 0 || store_->num_blocks() == 0) {
    FinishClose(actions);
    return;
  }
  for (const std::uint32_t rank : closing_->close.ranks()) {
    const auto given = closing_->contributions.find(rank);
    if (given != closing_->contributions.end() && given->second.usable()) continue;
    // It was named because this shard had reported it. The round stays as it is until the run has gone back.
    lost_ = absl::StrCat("round ", open_round_, " is closed with the push of rank ", rank,
                         ", of which something is missing here: the end of the journal is lost");
    spdlog::error("shard {}: {}", options_.index, lost_);
    return;
  }
  closing_->chunks_left = chunks;
  for (std::uint32_t chunk = 0; chunk < chunks; ++chunk) {
    actions->push_back([this, chunk] { Post([this, chunk] { RunClose(chunk); }); });
  }
}

void Shard::RunClose(std::uint32_t chunk) {
  std::vector<BlockStore::Term> terms;
  std::shared_ptr<BlockStore> store;
  std::shared_ptr<StoreCut> cut;
  ChunkRun run;
  double rate = 0;
  {
    MutexLock lock(mu_);
    store = store_;
    run = placement_->Chunk(options_.index, chunk);
    rate = closing_->rate;
    cut = closing_->cut;
    const auto divisor = static_cast<double>(closing_->close.samples());
    for (std::uint32_t rank : closing_->close.ranks()) {  // ascending
      const RoundBook::Contribution& contribution = closing_->contributions[rank];
      if (chunk >= contribution.chunks.size()) continue;
      const auto share = static_cast<float>(static_cast<double>(contribution.samples) / divisor);
      terms.push_back({share, contribution.chunks[chunk].encoding, contribution.chunks[chunk].payload});
    }
  }
  {
    MutexLock order(store->ChunkMutex(chunk));
    if (cut != nullptr) cut->BeforeUpdate(chunk);
    store->ApplySum(run, terms, rate);
  }
  Actions actions;
  {
    MutexLock lock(mu_);
    if (--closing_->chunks_left == 0) FinishClose(&actions);
  }
  Run(actions);
}

void Shard::FinishClose(Actions* actions) {
  const v1::RoundClose& close = closing_->close;
  std::set<std::uint32_t> contributors(close.ranks().begin(), close.ranks().end());
  for (auto& [id, member] : members_) {
    if (member.proto.state() != v1::LIVE || member.proto.entry_clock() > open_round_) continue;
    const bool contributed = contributors.count(member.proto.rank()) > 0;
    member.window.JumpTo(open_round_ + 1, contributed ? v1::APPLIED : v1::DROPPED);
    clocks_.Advance(id, open_round_ + 1);
    open_pushes_.erase(open_pushes_.lower_bound({id, 0}), open_pushes_.upper_bound({id, open_round_}));
    const auto given = closing_->contributions.find(member.proto.rank());
    if (given == closing_->contributions.end()) continue;
    if (given->second.refused || given->second.usable()) nonfinite_runs_.Add(id, given->second.refused);
  }
  departed_.CloseRound(open_round_, contributors);
  // A push that was held but not named is dropped, and counted.
  for (const auto& [rank, contribution] : closing_->contributions) {
    const bool contributed = contributors.count(rank) > 0;
    if (contributed) {
      stats_.set_pushes_applied(stats_.pushes_applied() + 1);
      delay_.Add(0);
    } else if (contribution.refused || !contribution.null) {
      CountLeftOut(rank, open_round_, contribution.refused);
    }
  }
  samples_ += close.samples();
  ++open_round_;
  version_ = open_round_;
  closing_.reset();
  TryCut();
  Pump(actions);  // copies asked for at this version are counted before the next round may start
  StartClose(actions);
  if (on_round_ && !rounds_.Whole(open_round_).empty()) actions->push_back(on_round_);
}

}  // namespace leeway
