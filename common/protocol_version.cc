#include "common/protocol_version.h"

#include "absl/strings/str_cat.h"

namespace leeway {

absl::Status CheckProtocolVersions(const std::string& who, std::uint32_t version, const std::string& with,
                                   std::uint32_t own_version) {
  const std::uint32_t lowest = own_version > 1 ? own_version - 1 : 1;
  if (version >= lowest && version <= own_version + 1) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("handshake: ", who, " speaks protocol version ", version, ", ",
                                                    with, " speaks ", own_version, " and works with ", lowest, " to ",
                                                    own_version + 1));
}

}  // namespace leeway
