// Keepalive: how the two ends of a quiet connection learn that the other one is gone, so that a call over a dead
// connection fails, and is tried again over a new one, long before its network would say so (NAT boxes and load
// balancers forget quiet connections without a word).
//
// Invariant: `least` < `every`. A server ends a connection that pings more often than `least` ("too_many_pings"), so
// what one end does the other must allow; both ends take their numbers from here.
//
// Thread safety: as an int.
#pragma once

#include "absl/time/time.h"

namespace leeway {

struct Keepalive {
  absl::Duration every = absl::Seconds(30);  // a ping when nothing has come for so long, calls or not
  // An answer by then, or the connection is dead. gRPC reads what comes over a connection without calls every 5 s only.
  absl::Duration within = absl::Seconds(10);
  // What a server allows. Less than `every`: clients of other versions and languages, and delays on the way, which
  // bring pings closer together.
  absl::Duration least = absl::Seconds(10);
};

}  // namespace leeway
