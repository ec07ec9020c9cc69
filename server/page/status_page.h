// The status page, as it is sent: one file, made of status_page.html, status_page.css and the scripts (embed.py).
//
// Thread safety: constants.
#pragma once

namespace leeway {

extern const char kStatusPage[];
extern const char kStatusPagePolicy[];  // its Content-Security-Policy

}  // namespace leeway
