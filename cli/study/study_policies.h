// The policies that a study compares, as its flag --policies names them.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/policy.pb.h"

namespace leeway {

struct StudyPolicy {
  std::string name;   // as it was given
  std::string flags;  // what `leeway run` takes for it
  v1::Policy policy;
};

inline constexpr std::size_t kMostPolicies = 32;
inline constexpr char kAllowedPolicies[] =
    "up to 32 of: round, round:K (a quorum, 1 to --workers), or with + between them bound:S (-1 and above), "
    "max_delay:R (1 and above, or sqrt), scale, dc, dc:LAMBDA (above 0, at most 1e6); to each +rate:V (above 0, at "
    "most 1e6)";

// "round+rate:0.4,bound:3,bound:-1,max_delay:16+scale": each is `base` with this consistency and, if it has one, this
// learning rate. "": those that most people will want to compare. INVALID_ARGUMENT says what is allowed.
absl::StatusOr<std::vector<StudyPolicy>> ParseStudyPolicies(const std::string& text, std::uint32_t workers,
                                                            const v1::Policy& base);

}  // namespace leeway
