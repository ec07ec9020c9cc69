// Learner: what is trained in a simulation (simulation.h), which tells it who reads, computes and pushes, in the order
// of simulated time. It owns the weights and the data; a gradient is of the weights that its worker had read.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <memory>

#include "proto/coordinator.pb.h"

namespace leeway {

class Learner {
 public:
  using Weights = std::shared_ptr<const void>;

  virtual ~Learner() = default;

  // The weights as they are now. All who read between two updates share them.
  virtual Weights Read() = 0;

  // Worker `rank` begins to compute step `clock` on `weights`. Returns on how many samples: in rounds there may be
  // none.
  virtual std::uint32_t Begin(std::uint32_t rank, std::uint64_t clock, Weights weights) = 0;

  // The push of that step is applied by itself (with a ticket, if the policy has rules of delays); it comes to nothing;
  // or it is whole, and held until its round is closed. One of the three for each step begun, unless its worker leaves.
  virtual void Apply(double now, std::uint32_t rank, std::uint64_t clock, const v1::Ticket& ticket) = 0;
  virtual void Refuse(std::uint32_t rank, std::uint64_t clock) = 0;
  virtual void Hold(std::uint32_t rank, std::uint64_t clock) = 0;

  // One step on the mean of what is held of these ranks; what else is held comes to nothing.
  virtual void Close(double now, const v1::RoundClose& close) = 0;

  // The worker is no member any more: nothing that it has begun will be applied, but for what is held.
  virtual void Leave(std::uint32_t rank) = 0;
};

}  // namespace leeway
