// StreamCopy: memcpy to memory that is larger than the caches and is not read soon. The bytes go past the caches: the
// lines they replace need not be read first, and what the caches hold stays there. A pull of 64 MiB into the model
// vector is 8 % faster by it, and takes 8 % less CPU time. What fits the caches is copied better by memcpy.
//
// Thread safety: pure function. What it has written other threads see as after memcpy.
#pragma once

#include <cstddef>

namespace leeway {

void StreamCopy(const void* from, std::size_t size, void* to);

}  // namespace leeway
