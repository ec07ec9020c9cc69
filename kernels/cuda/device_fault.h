// DeviceFault: where a kernel notes an impossible value that it met, in memory that the host can read.
//
// Thread safety: of the kernels of one stream one runs at a time, and only one thread of it writes; the host reads
// after the stream has passed it.
#pragma once

#include <cstdint>

namespace leeway {

struct DeviceFault {
  enum Kind : std::int32_t { kNone = 0, kLabel = 1, kToken = 2 };
  std::int32_t kind = kNone;
  std::int64_t row = 0;     // of the batch; a sequence, for tokens
  std::int64_t column = 0;  // the place in the sequence
  std::int64_t value = 0;
  std::int64_t limit = 0;  // allowed are 0 to limit - 1
};

}  // namespace leeway
