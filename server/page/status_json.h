// StatusJson: what the status page asks for every second, as JSON (docs/status-page.md names its fields).
//
// It is made for the page: numbers have six digits, curves at most kMostPoints points, and of workers that are gone
// only the newest are there. `leeway status` and GetStatus are what programs should ask.
//
// Thread safety: pure functions. What the status says was reported by other processes: nothing here relies on it being
// sensible, and no text in it is taken for JSON.
#pragma once

#include <cstddef>
#include <string>

#include "proto/coordinator.pb.h"

namespace leeway {

inline constexpr std::size_t kMostPagePoints = 500;    // of a curve: more than a screen has columns to tell apart
inline constexpr std::size_t kMostPageWorkers = 4096;  // as many as can be members; those that are gone come last

std::string StatusJson(const v1::GetStatusReply& status);

}  // namespace leeway
