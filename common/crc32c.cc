#include "common/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace leeway {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78u;  // Castagnoli's, lowest bit = highest power

// Eight bytes per step (Kounavis, Berry 2005): table[k][b] is the effect of byte b with k more bytes to follow.
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();
static_assert(std::endian::native == std::endian::little);

// a * b modulo the polynomial; the highest bit is x^0.
constexpr std::uint32_t Multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (std::uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
    if (a & bit) product ^= b;
    b = (b >> 1) ^ (b & 1 ? kPolynomial : 0);  // b * x
  }
  return product;
}

// What a CRC is multiplied by when `bytes` more bytes follow: x^(8 bytes).
constexpr std::uint32_t ShiftBy(std::uint64_t bytes) {
  std::uint32_t shift = 0x80000000u;   // x^0
  std::uint32_t square = 0x00800000u;  // x^8, squared for each bit of the length
  for (; bytes > 0; bytes /= 2) {
    if (bytes % 2 == 1) shift = Multiply(shift, square);
    square = Multiply(square, square);
  }
  return shift;
}

#if defined(__x86_64__)
// Bytes of each of three streams that are computed side by side: the instruction takes three cycles, and one can begin
// in each cycle.
constexpr std::size_t kLane = std::size_t{16} << 10;
constexpr std::uint32_t kLaneShift = ShiftBy(kLane);

std::uint64_t Load(const unsigned char* bytes) {
  std::uint64_t word;
  std::memcpy(&word, bytes, 8);
  return word;
}

__attribute__((target("sse4.2"))) std::uint32_t HardwareCrc32c(const void* data, std::size_t size, std::uint32_t seed) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint64_t crc = ~seed;
  for (; size >= 3 * kLane; size -= 3 * kLane, bytes += 3 * kLane) {
    std::uint64_t second = 0, third = 0;
    for (std::size_t i = 0; i < kLane; i += 8) {
      crc = _mm_crc32_u64(crc, Load(bytes + i));
      second = _mm_crc32_u64(second, Load(bytes + kLane + i));
      third = _mm_crc32_u64(third, Load(bytes + 2 * kLane + i));
    }
    const std::uint32_t both =
        Multiply(kLaneShift, static_cast<std::uint32_t>(crc)) ^ static_cast<std::uint32_t>(second);
    crc = Multiply(kLaneShift, both) ^ static_cast<std::uint32_t>(third);
  }
  for (; size >= 8; size -= 8, bytes += 8) crc = _mm_crc32_u64(crc, Load(bytes));
  auto crc32 = static_cast<std::uint32_t>(crc);
  for (; size > 0; --size) crc32 = _mm_crc32_u8(crc32, *bytes++);
  return ~crc32;
}
#endif

using Function = std::uint32_t (*)(const void*, std::size_t, std::uint32_t);

// The instruction is used only where it reproduces the tables (a habit of leveldb's): an emulator that gets it
// wrong costs speed, not checkpoints.
Function Choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) {
    const auto sample = reinterpret_cast<const unsigned char*>(&kTables) + 1;
    if (HardwareCrc32c(sample, 1021, 7) == PortableCrc32c(sample, 1021, 7)) return HardwareCrc32c;
  }
#endif
  return PortableCrc32c;
}

}  // namespace

std::uint32_t PortableCrc32c(const void* data, std::size_t size, std::uint32_t seed) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint32_t crc = ~seed;
  for (; size >= 8; size -= 8, bytes += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t k = 0; k < 8; ++k) crc ^= kTables[7 - k][(word >> (8 * k)) & 0xff];
  }
  for (; size > 0; --size) crc = (crc >> 8) ^ kTables[0][(crc ^ *bytes++) & 0xff];
  return ~crc;
}

std::uint32_t Crc32c(const void* data, std::size_t size, std::uint32_t seed) {
  static const Function function = Choose();
  return function(data, size, seed);
}

// As zlib's crc32_combine: appending n bytes multiplies the first CRC by x^(8 n).
std::uint32_t CombineCrc32c(std::uint32_t crc1, std::uint32_t crc2, std::uint64_t length2) {
  return Multiply(ShiftBy(length2), crc1) ^ crc2;
}

}  // namespace leeway
