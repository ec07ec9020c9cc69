#include "server/push_window.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

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

bool PushWindow::OpenStep::Started() const {
  return std::any_of(chunks.begin(), chunks.end(), [](const Chunk& c) {
    return c.state == ChunkState::kApplying || (c.state == ChunkState::kDone && c.verdict == v1::APPLIED);
  });
}

PushWindow::Step PushWindow::OpenStep::Outcome(std::uint64_t step) const {
  const auto applied = static_cast<std::size_t>(
      std::count_if(chunks.begin(), chunks.end(), [](const Chunk& c) { return c.verdict == v1::APPLIED; }));
  v1::Verdict verdict = settled_verdict;
  if (!chunks.empty()) verdict = applied > 0 ? v1::APPLIED : chunks.front().verdict;
  const bool refused = verdict == v1::REFUSED || std::any_of(chunks.begin(), chunks.end(),
                                                             [](const Chunk& c) { return c.verdict == v1::REFUSED; });
  return {step, verdict, applied > 0, applied > 0 && applied < chunks.size(), refused};
}

void PushWindow::OpenStep::Settle(v1::Verdict verdict) {
  if (chunks.empty()) {
    if (!settled) settled_verdict = verdict;
    settled = true;
  }
  for (Chunk& chunk : chunks) {
    if (chunk.state == ChunkState::kUnseen) chunk = {ChunkState::kDone, verdict};
  }
}

PushWindow::OpenStep* PushWindow::Find(std::uint64_t step) {
  if (step < clock_) {
    const auto it = behind_.find(step);
    return it == behind_.end() ? nullptr : &it->second;
  }
  while (open_.size() <= step - clock_) open_.emplace_back();
  return &open_[step - clock_];
}

v1::Verdict PushWindow::OldVerdict(std::uint64_t step, std::uint32_t chunk) const {
  const auto it = past_.find(step);
  if (it != past_.end()) {
    const auto otherwise = it->second.otherwise.find(chunk);
    return otherwise == it->second.otherwise.end() ? it->second.verdict : otherwise->second;
  }
  const bool forgotten = past_.size() == kRemembered && step < past_.begin()->first;
  return forgotten ? v1::APPLIED : v1::DROPPED;
}

void PushWindow::Remember(std::uint64_t step, v1::Verdict verdict, const std::vector<Chunk>& chunks) {
  if (verdict == v1::DROPPED) return;
  Past& past = past_[step] = {verdict, {}};
  for (std::uint32_t chunk = 0; chunk < chunks.size(); ++chunk) {
    if (chunks[chunk].verdict != verdict) past.otherwise[chunk] = chunks[chunk].verdict;
  }
  if (past_.size() > kRemembered) past_.erase(past_.begin());
}

absl::StatusOr<PushWindow::Seen> PushWindow::Begin(std::uint64_t step, std::uint32_t chunk, std::uint32_t chunk_count) {
  if (chunk >= chunk_count) {
    return absl::InvalidArgumentError(absl::StrCat("push names chunk ", chunk, " of ", chunk_count));
  }
  if (!Open(step)) return Seen{Seen::kDone, OldVerdict(step, chunk)};
  if (step >= clock_ + kAhead) return TooFarAhead(step, clock_);
  OpenStep& open = *Find(step);
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
  if (!Open(step)) return {Seen::kDone, OldVerdict(step, chunk)};
  if (step >= highest()) return {};
  const OpenStep& open = step < clock_ ? behind_.at(step) : open_[step - clock_];
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
  // The step may have ended while the chunk was applied: by a closed round, or given up behind the clock.
  if (!Open(step) || step >= clock_ + kAhead) return;
  OpenStep& open = *Find(step);
  if (chunk < open.chunks.size()) open.chunks[chunk] = {ChunkState::kDone, verdict};
}

absl::Status PushWindow::Settle(std::uint64_t step, v1::Verdict verdict) {
  if (!Open(step)) return absl::OkStatus();
  if (step >= clock_ + kAhead) return TooFarAhead(step, clock_);
  Find(step)->Settle(verdict);
  return absl::OkStatus();
}

std::vector<PushWindow::Step> PushWindow::TakeWhole() {
  std::vector<Step> whole;
  for (auto it = behind_.begin(); it != behind_.end();) {
    if (!it->second.Whole()) {
      ++it;
      continue;
    }
    whole.push_back(it->second.Outcome(it->first));
    Remember(it->first, whole.back().verdict, it->second.chunks);
    Given(it->first, whole.back().verdict);
    it = behind_.erase(it);
  }
  while (!open_.empty() && open_.front().Whole()) {
    whole.push_back(open_.front().Outcome(clock_));
    Remember(clock_, whole.back().verdict, open_.front().chunks);
    open_.pop_front();
    ++clock_;
  }
  return whole;
}

std::vector<std::uint64_t> PushWindow::OpenBelow(std::uint64_t end) const {
  std::vector<std::uint64_t> open;
  for (const auto& [step, state] : behind_) {
    if (step < end) open.push_back(step);
  }
  for (std::uint64_t step = clock_; step < std::min(end, clock_ + kAhead); ++step) open.push_back(step);
  return open;
}

bool PushWindow::Begun(std::uint64_t step) const {
  if (step >= highest()) return false;
  const OpenStep& open = step < clock_ ? behind_.at(step) : open_[step - clock_];
  return open.settled || !open.chunks.empty();
}

std::size_t PushWindow::Started() const {
  std::size_t started = 0;
  for (const OpenStep& open : open_) started += open.Started() ? 1 : 0;
  for (const auto& [step, open] : behind_) started += open.Started() ? 1 : 0;
  return started;
}

// What was dropped has not come.
void PushWindow::Given(std::uint64_t step, v1::Verdict verdict) {
  if (verdict == v1::DROPPED) return;
  given_.insert(step);
  if (given_.size() > 2 * kAhead) given_.erase(given_.begin());
}

void PushWindow::Reenter(std::uint64_t clock) {
  for (const auto& [step, past] : past_) Given(step, past.verdict);
  for (std::uint64_t step = clock_; step < std::min(clock, clock_ + kAhead); ++step) {
    behind_[step] = std::move(*Find(step));
  }
  JumpTo(clock, v1::DROPPED);
  auto oldest = behind_.begin();
  for (std::size_t count = behind_.size(); count > kAhead; --count) (oldest++)->second.Settle(v1::DROPPED);
}

void PushWindow::JumpTo(std::uint64_t clock, v1::Verdict verdict) {
  if (clock <= clock_) return;
  // A long jump costs no more than what is remembered.
  const std::uint64_t remembered = std::min<std::uint64_t>(clock - clock_, kRemembered);
  for (std::uint64_t step = clock - remembered; step < clock; ++step) Remember(step, verdict);
  const std::uint64_t over = std::min<std::uint64_t>(clock - clock_, open_.size());
  open_.erase(open_.begin(), open_.begin() + static_cast<std::ptrdiff_t>(over));
  clock_ = clock;
}

// --- Saved -----------------------------------------------------------------------------------------------

v1::WindowState::Step PushWindow::OpenStep::Save() const {
  v1::WindowState::Step state;
  for (const Chunk& chunk : chunks) {
    state.add_chunks(chunk.state == ChunkState::kDone ? 1 + static_cast<std::uint32_t>(chunk.verdict) : 0);
  }
  state.set_settled(settled);
  state.set_settled_verdict(settled_verdict);
  return state;
}

absl::StatusOr<PushWindow::OpenStep> PushWindow::OpenStep::Restore(const v1::WindowState::Step& state) {
  OpenStep step;
  for (const std::uint32_t chunk : state.chunks()) {
    if (chunk > 0 && !v1::Verdict_IsValid(static_cast<int>(chunk - 1))) {
      return absl::DataLossError(absl::StrCat("a window with a chunk in state ", chunk));
    }
    step.chunks.push_back(chunk == 0 ? Chunk() : Chunk{ChunkState::kDone, static_cast<v1::Verdict>(chunk - 1)});
  }
  step.settled = state.settled();
  step.settled_verdict = state.settled_verdict();
  return step;
}

v1::WindowState PushWindow::Save() const {
  v1::WindowState state;
  state.set_clock(clock_);
  for (const OpenStep& step : open_) *state.add_open() = step.Save();
  for (const auto& [number, step] : behind_) {
    v1::WindowState::Step& saved = *state.add_behind();
    saved = step.Save();
    saved.set_step(number);
  }
  for (const auto& [step, past] : past_) {
    state.add_past_steps(step);
    state.add_past(past.verdict);
    for (const auto& [number, verdict] : past.otherwise) {
      v1::WindowState::PastChunk& chunk = *state.add_past_chunks();
      chunk.set_step(step);
      chunk.set_chunk(number);
      chunk.set_verdict(verdict);
    }
  }
  for (const std::uint64_t step : given_) state.add_given(step);
  return state;
}

absl::StatusOr<PushWindow> PushWindow::Restore(const v1::WindowState& state) {
  const auto open = static_cast<std::uint64_t>(state.open_size());
  const auto past = static_cast<std::uint64_t>(state.past_size());
  const bool named = state.past_steps().empty() || state.past_steps_size() == state.past_size();
  if (open > kAhead || past > std::min<std::uint64_t>(kRemembered, state.clock()) || !named ||
      state.behind_size() > int{kAhead} || state.given_size() > 2 * int{kAhead}) {
    return absl::DataLossError(absl::StrCat("a window at clock ", state.clock(), " with ", open, " open steps, ",
                                            state.behind_size(), " behind it and ", past, " verdicts"));
  }
  PushWindow window(state.clock());
  for (const v1::WindowState::Step& saved : state.open()) {
    ASSIGN_OR_RETURN(OpenStep step, OpenStep::Restore(saved));
    window.open_.push_back(std::move(step));
  }
  for (const v1::WindowState::Step& saved : state.behind()) {
    ASSIGN_OR_RETURN(OpenStep step, OpenStep::Restore(saved));
    if (saved.step() >= state.clock()) {
      return absl::DataLossError(
          absl::StrCat("a window at clock ", state.clock(), " with step ", saved.step(), " behind it"));
    }
    window.behind_[saved.step()] = std::move(step);
  }
  window.given_.insert(state.given().begin(), state.given().end());
  for (int i = 0; i < state.past_size(); ++i) {
    const std::uint64_t step =
        state.past_steps().empty() ? state.clock() - past + static_cast<std::uint64_t>(i) : state.past_steps(i);
    if (step >= state.clock()) {
      return absl::DataLossError(absl::StrCat("a window at clock ", state.clock(), " with a verdict on step ", step));
    }
    window.Remember(step, state.past(i));
  }
  for (const v1::WindowState::PastChunk& chunk : state.past_chunks()) {
    const auto past = window.past_.find(chunk.step());
    if (past == window.past_.end()) {
      return absl::DataLossError(absl::StrCat("a window with a verdict on chunk ", chunk.chunk(), " of step ",
                                              chunk.step(), ", but none on the step"));
    }
    past->second.otherwise[chunk.chunk()] = chunk.verdict();
  }
  return window;
}

}  // namespace leeway
