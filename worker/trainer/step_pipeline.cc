#include "worker/trainer/step_pipeline.h"

#include <algorithm>
#include <utility>

namespace leeway {

StepPipeline::StepPipeline(int depth, std::uint64_t entry_clock)
    : depth_(depth), base_(entry_clock), clock_(entry_clock) {
  for (int slot = depth; slot >= 0; --slot) {
    free_weights_.push_back(slot);
    free_gradients_.push_back(slot);
  }
}

std::uint64_t StepPipeline::settled() const {
  return gradient_of_push_.empty() ? clock_ : gradient_of_push_.begin()->first;
}

bool StepPipeline::GradientFree() const { return !free_gradients_.empty(); }

bool StepPipeline::CanCompute() const {
  // Verdicts come in any order: one that is late must not let the worker run ahead of it for ever, buffer by buffer.
  const bool near =
      gradient_of_push_.empty() || gradient_of_push_.begin()->first + static_cast<std::uint64_t>(depth_) >= clock_;
  return !computing_ && near && GradientFree() && !pulls_.empty() && pulls_.front().arrived;
}

std::optional<StepPipeline::PullOrder> StepPipeline::NextPull() {
  const auto depth = static_cast<std::uint64_t>(depth_);
  // At depth 0 the weights must contain the last push: ask when its verdict is there.
  if (depth == 0 && (computing_ || !gradient_of_push_.empty())) return std::nullopt;
  // The shards' clocks have been set to the re-entry: they would not make a pull wait for the pushes from before it.
  if (!gradient_of_push_.empty() && gradient_of_push_.begin()->first < reentry_) return std::nullopt;
  const std::uint64_t last = computing_ ? clock_ + depth : clock_ + std::max<std::uint64_t>(depth, 1) - 1;
  const std::uint64_t next = pulls_.empty() ? clock_ + (computing_ ? 1 : 0) : pulls_.back().order.clock + 1;
  if (next > last || free_weights_.empty()) return std::nullopt;
  PullOrder order;
  order.id = next_id_++;
  order.clock = next;
  order.own_clock = next > base_ + depth ? next - depth : base_;
  order.weights_slot = free_weights_.back();
  free_weights_.pop_back();
  pulls_.push_back({order});
  return order;
}

void StepPipeline::PullArrived(std::uint64_t id) {
  for (Prefetch& pull : pulls_) {
    if (pull.order.id == id) pull.arrived = true;
  }
}

std::vector<std::uint64_t> StepPipeline::TakeDropped() { return std::exchange(dropped_, {}); }

StepPipeline::Compute StepPipeline::BeginCompute() {
  current_.clock = clock_;
  current_.pull_id = pulls_.front().order.id;
  current_.weights_slot = pulls_.front().order.weights_slot;
  current_.gradient_slot = free_gradients_.back();
  free_gradients_.pop_back();
  pulls_.pop_front();
  computing_ = true;
  gradient_of_push_[clock_] = current_.gradient_slot;
  return current_;
}

void StepPipeline::EndCompute() {
  computing_ = false;
  free_weights_.push_back(current_.weights_slot);
  ++clock_;
  Jump(std::exchange(jump_, 0));
}

void StepPipeline::PushEnded(std::uint64_t clock, v1::Verdict verdict, std::uint64_t open_round) {
  const auto push = gradient_of_push_.find(clock);
  if (push == gradient_of_push_.end()) return;
  free_gradients_.push_back(push->second);
  gradient_of_push_.erase(push);
  if (verdict == v1::REFUSED) DropPrefetch();
  if (verdict == v1::DROPPED) Jump(open_round);
}

void StepPipeline::Reenter(std::uint64_t clock) {
  DropPrefetch();
  reentry_ = std::max(reentry_, clock);
  Jump(clock);
}

void StepPipeline::Jump(std::uint64_t clock) {
  if (computing_) jump_ = std::max(jump_, clock);
  if (computing_ || clock <= clock_) return;
  DropPrefetch();
  base_ = clock_ = clock;
}

void StepPipeline::DropPrefetch() {
  for (const Prefetch& pull : pulls_) {
    dropped_.push_back(pull.order.id);
    free_weights_.push_back(pull.order.weights_slot);
  }
  pulls_.clear();
}

}  // namespace leeway
