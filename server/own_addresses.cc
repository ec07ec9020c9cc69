#include "server/own_addresses.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/socket.h"
#include "common/status_macros.h"

namespace leeway {

absl::StatusOr<OwnAddresses> OwnAddressesOf(const std::string& listen, const std::string& advertise, int port) {
  ASSIGN_OR_RETURN(const auto parts, SplitAddress(listen));
  OwnAddresses own;
  own.others = advertise.empty() ? JoinAddress(parts.first, port) : advertise;
  if (absl::EndsWith(own.others, ":0")) own.others = absl::StrCat(absl::StripSuffix(own.others, "0"), port);
  // Where every address is listened on, the advertised one may be a router's, which need not lead back here.
  own.self = IsWildcard(parts.first) ? JoinAddress(absl::StrContains(parts.first, ':') ? "::1" : "127.0.0.1", port)
                                     : own.others;
  return own;
}

}  // namespace leeway
