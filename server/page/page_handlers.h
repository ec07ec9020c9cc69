// The status page's two paths: "/", the page itself, and "/api/status", what it asks for every second.
//
// Thread safety: handlers run on one thread, as HttpServer's do; `status` is called there.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/http_server.h"
#include "proto/coordinator.pb.h"

namespace leeway {

// However many browsers watch, the status is asked for and written down once in this time.
inline constexpr absl::Duration kStatusAge = absl::Milliseconds(900);

// `status` must not block. What it cannot tell is answered with 503 and the reason.
std::map<std::string, HttpHandler> PageHandlers(std::function<absl::StatusOr<v1::GetStatusReply>()> status,
                                                std::function<Instant()> now);

}  // namespace leeway
