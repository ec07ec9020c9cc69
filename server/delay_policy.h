// --delay_policy: apply, scale, or dc, delay-compensated ASGD (kernels/correct_delay.h), by its lambda in the policy.
//
// In the policy "dc" is APPLY with dc_lambda above 0 beside it. So a neighbour of an older version, which does not know
// the second field, asks for no tickets either, and applies gradients as they come: as a shard does that does not know
// on which weights one was computed.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "proto/policy.pb.h"

namespace leeway {

inline constexpr char kDelayPolicyAllowed[] = "apply, scale, dc";
inline constexpr char kDcLambdaAllowed[] = "above 0, at most 1e6: --delay_policy=dc";
inline constexpr double kDcLambda = 0.04;  // the default, as MXNet's
inline constexpr double kMostDcLambda = 1e6;

// False: it is none of them. A lambda that the policy has stays with dc; without dc there is none.
bool SetDelayPolicy(const std::string& text, v1::Policy* policy);

// As it is given: "apply", "scale", "dc".
std::string DelayPolicyText(const v1::Policy& policy);

inline bool CorrectsDelay(const v1::Policy& policy) { return policy.dc_lambda() > 0; }

}  // namespace leeway
