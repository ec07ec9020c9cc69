#include "server/push_window.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

absl::Status TooFarAhead(std::uint64_t step, std::uint64_t clock) {
  return absl::OutOfRangeError(absl::StrCat("push of step ", step, " while this worker's clock here is ", clock,
                                            ": at most ", PushWindow::kAhead, " steps may be open"));
}

}  // namespace

bool PushWindow::OpenStep::Whole() const {
  if (settled) return true;
  return !chunks.empty() &&
         std::all_of(chunks.begin(), chunks.end(), [](const Chunk& c) { return c.state == ChunkState::kDone; });
}

PushWindow::OpenStep& PushWindow::At(std::uint64_t step) {
  while (open_.size() <= step - clock_) open_.emplace_back();
  return open_[step - clock_];
}

v1::Verdict PushWindow::OldVerdict(std::uint64_t step) const {
  const std::uint64_t age = clock_ - step;  // 1: the newest
  return age <= past_.size() ? past_[past_.size() - age] : v1::APPLIED;
}

absl::StatusOr<PushWindow::Seen> PushWindow::Begin(std::uint64_t step, std::uint32_t chunk, std::uint32_t chunk_count) {
  if (chunk >= chunk_count) {
    return absl::InvalidArgumentError(absl::StrCat("push names chunk ", chunk, " of ", chunk_count));
  }
  if (step < clock_) return Seen{Seen::kDone, OldVerdict(step)};
  if (step - clock_ >= kAhead) return TooFarAhead(step, clock_);
  OpenStep& open = At(step);
  if (open.settled && open.chunks.empty()) return Seen{Seen::kDone, open.settled_verdict};
  if (open.chunks.empty()) open.chunks.resize(chunk_count);
  if (open.chunks.size() != chunk_count) {
    return absl::InvalidArgumentError(absl::StrCat("push of step ", step, " says it has ", chunk_count,
                                                   " chunks here; an earlier chunk said ", open.chunks.size()));
  }
  const Seen seen = Look(step, chunk);
  if (seen.state == Seen::kFresh) open.chunks[chunk].state = ChunkState::kApplying;
  return seen;
}

PushWindow::Seen PushWindow::Look(std::uint64_t step, std::uint32_t chunk) const {
  if (step < clock_) return {Seen::kDone, OldVerdict(step)};
  if (step - clock_ >= open_.size()) return {};
  const OpenStep& open = open_[step - clock_];
  if (open.settled && open.chunks.empty()) return {Seen::kDone, open.settled_verdict};
  if (chunk >= open.chunks.size()) return {};
  switch (open.chunks[chunk].state) {
    case ChunkState::kUnseen:
      return {};
    case ChunkState::kApplying:
      return {Seen::kApplying, v1::VERDICT_NONE};
    case ChunkState::kDone:
      break;
  }
  return {Seen::kDone, open.chunks[chunk].verdict};
}

void PushWindow::Finish(std::uint64_t step, std::uint32_t chunk, v1::Verdict verdict) {
  // The worker may have expired or jumped while the chunk was applied.
  if (step < clock_ || step - clock_ >= open_.size()) return;
  OpenStep& open = open_[step - clock_];
  if (chunk >= open.chunks.size()) return;
  open.chunks[chunk] = {ChunkState::kDone, verdict};
}

absl::Status PushWindow::Settle(std::uint64_t step, v1::Verdict verdict) {
  if (step < clock_) return absl::OkStatus();
  if (step - clock_ >= kAhead) return TooFarAhead(step, clock_);
  OpenStep& open = At(step);
  if (open.chunks.empty()) {
    if (!open.settled) open.settled_verdict = verdict;
    open.settled = true;
    return absl::OkStatus();
  }
  for (Chunk& chunk : open.chunks) {
    if (chunk.state == ChunkState::kUnseen) chunk = {ChunkState::kDone, verdict};
  }
  return absl::OkStatus();
}

void PushWindow::Retire(v1::Verdict verdict) {
  open_.pop_front();
  ++clock_;
  past_.push_back(verdict);
  if (past_.size() > kRemembered) past_.pop_front();
}

std::vector<PushWindow::Step> PushWindow::TakeWhole() {
  std::vector<Step> whole;
  while (!open_.empty() && open_.front().Whole()) {
    const OpenStep& open = open_.front();
    const auto applied = static_cast<std::size_t>(
        std::count_if(open.chunks.begin(), open.chunks.end(), [](const Chunk& c) { return c.verdict == v1::APPLIED; }));
    v1::Verdict verdict = open.settled_verdict;
    if (!open.chunks.empty()) verdict = applied > 0 ? v1::APPLIED : open.chunks.front().verdict;
    whole.push_back({clock_, verdict, applied > 0, applied > 0 && applied < open.chunks.size()});
    Retire(verdict);
  }
  return whole;
}

bool PushWindow::Started(std::uint64_t step) const {
  if (step < clock_ || step - clock_ >= open_.size()) return false;
  const std::vector<Chunk>& chunks = open_[step - clock_].chunks;
  return std::any_of(chunks.begin(), chunks.end(), [](const Chunk& c) {
    return c.state == ChunkState::kApplying || (c.state == ChunkState::kDone && c.verdict == v1::APPLIED);
  });
}

void PushWindow::JumpTo(std::uint64_t clock, v1::Verdict verdict) {
  while (clock_ < clock) {
    if (open_.empty()) {
      // A long jump costs no more than what is remembered.
      past_.insert(past_.end(), std::min<std::uint64_t>(clock - clock_, kRemembered), verdict);
      while (past_.size() > kRemembered) past_.pop_front();
      clock_ = clock;
      return;
    }
    Retire(verdict);
  }
}

}  // namespace leeway
