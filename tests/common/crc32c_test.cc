#include "common/crc32c.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "common/hash.h"
#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

using Crc = std::uint32_t (*)(const void*, std::size_t, std::uint32_t);

std::string RandomBytes(std::uint64_t seed, std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(HashCombine(seed, i));
  return bytes;
}

// RFC 3720, appendix B.4, and the catalogue's check value.
TEST_CASE("Crc32c: published values, by instruction and by tables") {
  std::string ascending(32, '\0'), descending(32, '\0');
  for (int i = 0; i < 32; ++i) {
    ascending[static_cast<std::size_t>(i)] = static_cast<char>(i);
    descending[static_cast<std::size_t>(i)] = static_cast<char>(31 - i);
  }
  const unsigned char scsi_read[48] = {0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                       0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
                                       0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
                                       0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
  for (const Crc crc : {Crc{Crc32c}, Crc{PortableCrc32c}}) {
    CHECK(crc("", 0, 0) == 0);
    CHECK(crc("123456789", 9, 0) == 0xe3069283u);
    CHECK(crc(std::string(32, '\0').data(), 32, 0) == 0x8a9136aau);
    CHECK(crc(std::string(32, '\xff').data(), 32, 0) == 0x62a8ab43u);
    CHECK(crc(ascending.data(), 32, 0) == 0x46dd794eu);
    CHECK(crc(descending.data(), 32, 0) == 0x113fdb5cu);
    CHECK(crc(scsi_read, sizeof scsi_read, 0) == 0xd9963a56u);
  }
}

TEST_CASE("Crc32c: instruction and tables agree at every length and alignment") {
  const std::string bytes = RandomBytes(TestSeed(), 300);
  for (std::size_t begin = 0; begin < 16; ++begin) {
    for (std::size_t size = 0; begin + size <= bytes.size(); ++size) {
      REQUIRE(Crc32c(bytes.data() + begin, size, 99) == PortableCrc32c(bytes.data() + begin, size, 99));
    }
  }
}

TEST_CASE("Crc32c: instruction and tables agree where streams are computed side by side") {
  const std::string bytes = RandomBytes(TestSeed(), 200'000);
  for (const std::size_t size : {49'151, 49'152, 49'153, 49'159, 98'303, 98'304, 150'000, 199'997}) {
    CHECK(Crc32c(bytes.data() + 3, size, 99) == PortableCrc32c(bytes.data() + 3, size, 99));
  }
}

TEST_CASE("Crc32c: in pieces, by seed and by combination") {
  const std::string bytes = RandomBytes(TestSeed(), 100'000);
  const std::uint32_t whole = Crc32c(bytes.data(), bytes.size());
  for (const std::size_t cut : {0, 1, 7, 8, 63, 4096, 50'001, 99'999, 100'000}) {
    const std::uint32_t head = Crc32c(bytes.data(), cut);
    CHECK(Crc32c(bytes.data() + cut, bytes.size() - cut, head) == whole);
    const std::uint32_t tail = Crc32c(bytes.data() + cut, bytes.size() - cut);
    CHECK(CombineCrc32c(head, tail, bytes.size() - cut) == whole);
  }
}

// Appending 2^33 zeros, without doing so: once in one go and once as 2^13 times 2^20.
TEST_CASE("CombineCrc32c: lengths above 32 bits") {
  const std::vector<char> zeros(1 << 20);
  const std::uint32_t million = Crc32c(zeros.data(), zeros.size());
  std::uint32_t all = Crc32c("x", 1), zeros_crc = 0;
  for (int i = 0; i < 1 << 13; ++i) {
    zeros_crc = CombineCrc32c(zeros_crc, million, 1 << 20);
    all = CombineCrc32c(all, million, 1 << 20);
  }
  CHECK(CombineCrc32c(Crc32c("x", 1), zeros_crc, std::uint64_t{1} << 33) == all);
}

TEST_CASE("Crc32c: one flipped bit is seen") {
  std::string bytes = RandomBytes(5, 100);
  const std::uint32_t before = Crc32c(bytes.data(), bytes.size());
  for (std::size_t bit = 0; bit < 800; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    REQUIRE(Crc32c(bytes.data(), bytes.size()) != before);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
}

}  // namespace
}  // namespace leeway
