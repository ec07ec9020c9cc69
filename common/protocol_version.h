// The version of the wire protocol, and which versions work together: N with N - 1 and with N + 1, so that the
// processes of a running cluster can be replaced one by one, whichever comes first. A process of version N + 1 has
// promised to speak N; docs/protocol.md says what may change from one version to the next.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace leeway {

inline constexpr std::uint32_t kProtocolVersion = 1;

// What two processes say of themselves when they meet. FAILED_PRECONDITION names both, and says which versions the
// second one works with: they are more than one apart, or the first names none (0).
absl::Status CheckProtocolVersions(const std::string& who, std::uint32_t version, const std::string& with,
                                   std::uint32_t own_version);

}  // namespace leeway
