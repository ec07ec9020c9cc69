// --max_delay: a number, -1 for none, or "sqrt", Ringmaster's limit without a number to tune (Maranjyan et al. 2025):
// for a push that opens when k were accepted before it, R_k = max(1, floor(sqrt(k))). A run begins nearly one push
// after the other, while it learns fast, and drifts to accepting all.
//
// In the policy "sqrt" is max_delay = 1 with max_delay_sqrt beside it. A neighbour of an older version that does not
// know the second field asks for tickets, too, and as a coordinator refuses more than it should, never less.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "proto/policy.pb.h"

namespace leeway {

inline constexpr char kMaxDelayAllowed[] = "-1, 1 and above, or sqrt";

// False: that is neither a number nor sqrt. Which numbers are allowed is CheckPolicy's.
bool SetMaxDelay(const std::string& text, v1::Policy* policy);

// As it is given: "4", "sqrt".
std::string MaxDelayText(const v1::Policy& policy);

// The delay from which on a push is refused when `accepted` were accepted before it; nothing: none is.
std::optional<std::uint64_t> DelayLimit(const v1::Policy& policy, std::uint64_t accepted);

}  // namespace leeway
