// CRC32C (Castagnoli), as in iSCSI (RFC 3720): the check of checkpoints, journals and final weights.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leeway {

// The CRC of `size` bytes at `data`. With `seed`, the CRC of what came before, that of both together:
// Crc32c(b, m, Crc32c(a, n)) is the CRC of a followed by b.
std::uint32_t Crc32c(const void* data, std::size_t size, std::uint32_t seed = 0);

// The same by tables alone, for machines without the instruction and for tests.
std::uint32_t PortableCrc32c(const void* data, std::size_t size, std::uint32_t seed = 0);

// The CRC of a followed by b, from their CRCs and the length of b in bytes.
std::uint32_t CombineCrc32c(std::uint32_t crc1, std::uint32_t crc2, std::uint64_t length2);

}  // namespace leeway
