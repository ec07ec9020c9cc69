// The flags of what a process answers over HTTP (common/process_http.h); `leeway run` knows them too.
//
// Thread safety: reads of flags; any thread after parsing.
#pragma once

#include <cstdint>
#include <string>

#include "absl/flags/declare.h"

ABSL_DECLARE_FLAG(std::int32_t, http_port);
ABSL_DECLARE_FLAG(std::string, http_address);
ABSL_DECLARE_FLAG(std::string, http_port_file);
