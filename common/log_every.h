// LogEvery: thins out a line that would come too often.
//   if (every_.Due(now)) spdlog::warn("gradient refused ({} more since the last line)", every_.skipped());
// Not in common/log.h: classes have it as a member, and who includes them need not read spdlog's headers.
//
// Thread safety: as an int.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "common/clock.h"

namespace leeway {

class LogEvery {
 public:
  explicit LogEvery(absl::Duration interval) : interval_(interval) {}

  // True the first time, then at most once per interval.
  bool Due(Instant now) {
    if (!first_ && now - last_ < interval_) {
      ++pending_;
      return false;
    }
    first_ = false;
    last_ = now;
    skipped_ = pending_;
    pending_ = 0;
    return true;
  }

  // How many calls answered false between the last two that answered true.
  std::uint64_t skipped() const { return skipped_; }

 private:
  const absl::Duration interval_;
  bool first_ = true;
  Instant last_;
  std::uint64_t pending_ = 0;
  std::uint64_t skipped_ = 0;
};

}  // namespace leeway
