// How large a message may be, over every carrier.
//
// Thread safety: constants.
#pragma once

#include <cstddef>

namespace leeway {

// There or back; a larger one is RESOURCE_EXHAUSTED, unread: a manifest (Manifest::kMaxBytes) and room for the message
// around it. A chunk is 4 MiB, in the worst encoding of it 8 MiB.
inline constexpr std::size_t kMaxMessageBytes = (16 << 20) + (64 << 10);

// What a shard takes of a worker's request beside its payload: this much may wait, or go into the journal, without
// being counted. Some 100 bytes are in use.
inline constexpr std::size_t kMaxRequestHeaderBytes = 64 << 10;

}  // namespace leeway
