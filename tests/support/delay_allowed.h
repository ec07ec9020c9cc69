// DelayAllowed: Ringmaster's promise of a push that got a ticket, for the simulation: its delay is below max_delay,
// which with sqrt is the root of the pushes accepted before it. Not by the coordinator's own arithmetic.
//
// Thread safety: a pure function.
#pragma once

#include <cstdint>

#include "proto/coordinator.pb.h"
#include "proto/policy.pb.h"

namespace leeway {

inline bool DelayAllowed(const v1::Policy& policy, const v1::Ticket& ticket) {
  const std::uint64_t over = ticket.delay() + 1;
  if (policy.max_delay_sqrt()) return ticket.delay() == 0 || over * over <= ticket.serial() - 1;
  return policy.max_delay() < 0 || over <= static_cast<std::uint64_t>(policy.max_delay());
}

}  // namespace leeway
