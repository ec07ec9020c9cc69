// Gzip: text made small for the network; HTTP's Content-Encoding.
//
// Thread safety: pure functions.
#pragma once

#include <string>

namespace leeway {

// `text` in gzip's format, at the fastest level: what is asked for every second must not cost a core.
std::string Gzip(const std::string& text);

// Does "Accept-Encoding: `accepted`" allow it?
bool AcceptsGzip(const std::string& accepted);

}  // namespace leeway
