// Payloads as a stranger may write them: refused with a reason, and nothing written or read where it must not be.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/encodings/encoding.h"
#include "kernels/reference/encodings.h"
#include "tests/catch.h"
#include "tests/kernels/encodings/encoding_testing.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

using namespace testing;
using Catch::Matchers::Contains;

std::string Words(const std::vector<std::uint32_t>& words) {
  return {reinterpret_cast<const char*>(words.data()), 4 * words.size()};
}

constexpr float kUntouched = 0.25f;

// Decodes in all three ways; on an error nothing must have been written. Returns DecodeBlock's answer.
absl::StatusOr<std::size_t> Try(v1::Encoding encoding, const Buffer& payload, std::size_t at, std::size_t count) {
  const std::vector<float> untouched(count, kUntouched);
  std::vector<float> set = untouched, added = untouched;
  const auto decoded = DecodeBlock(encoding, payload, at, count, set.data());
  const auto summed = DecodeAddBlock(encoding, payload, at, count, added.data());
  const auto checked = CheckBlock(encoding, payload, at, count);
  REQUIRE(decoded.status() == summed.status());
  REQUIRE(decoded.status() == checked.status());
  if (decoded.ok()) {
    REQUIRE(*decoded == *summed);
    REQUIRE(*decoded == *checked);
    REQUIRE(*decoded <= payload.size());
  } else {
    REQUIRE(absl::IsInvalidArgument(decoded.status()));
    REQUIRE(SameBits(set, untouched));
    REQUIRE(SameBits(added, untouched));
  }
  return decoded;
}

std::string Message(const absl::StatusOr<std::size_t>& result) { return std::string(result.status().message()); }

TEST_CASE("A payload that ends too early is refused, wherever it ends") {
  for (const v1::Encoding encoding : kEncodings) {
    const std::vector<float> values = MakeValues(Kind::kSpread, 13, 5);
    const std::string bytes = reference::EncodeBlock(encoding, values, 4);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto result = Try(encoding, Cut("z" + bytes.substr(0, size), {1}), 1, values.size());
      REQUIRE_FALSE(result.ok());
      CHECK_THAT(Message(result), Contains(v1::Encoding_Name(encoding)) && Contains(std::to_string(size + 1)));
    }
    CHECK(Try(encoding, Cut("z" + bytes, {1}), 1, values.size()).ok());
  }
}

TEST_CASE("A block that begins behind the payload's end is refused") {
  for (const v1::Encoding encoding : kEncodings) {
    CHECK_FALSE(Try(encoding, Buffer::FromString("abc"), 3, 2).ok());
    CHECK_FALSE(Try(encoding, Buffer::FromString("abc"), 4, 2).ok());
    CHECK_FALSE(Try(encoding, Buffer::FromString("abc"), ~std::size_t{0}, 2).ok());
    CHECK_FALSE(Try(encoding, Buffer(), 0, 2).ok());
  }
}

TEST_CASE("TOP_K: counts and indices that cannot be are refused at every cut") {
  struct {
    const char* what;
    std::vector<std::uint32_t> words;
    const char* says;
  } const cases[] = {
      {"more values than the block has", {4, 0, 1, 2, 2, 1, 1, 1, 1}, "4 values of a block of 3"},
      {"a count that overflows", {0xffffffffu, 0, 1, 2}, "4294967295 values"},
      {"an index beyond the block", {2, 0, 3, 1, 1}, "index 3 at place 1"},
      {"a huge index", {2, 0, 0xffffffffu, 1, 1}, "index 4294967295 at place 1"},
      {"descending", {3, 0, 2, 1, 9, 9, 9}, "index 1 at place 2"},
      {"the same index twice", {2, 1, 1, 9, 9}, "index 1 at place 1"},
      {"after the last possible one", {2, 0xffffffffu, 0, 9, 9}, "index 4294967295 at place 0"},
  };
  for (const auto& c : cases) {
    INFO(c.what);
    const std::string bytes = Words(c.words);
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
      const auto result = Try(v1::TOP_K, Cut(bytes, {cut}), 0, 3);
      REQUIRE_FALSE(result.ok());
      REQUIRE_THAT(Message(result), Contains(c.says));
    }
  }
}

// A bad index in the last of several pieces: what comes before it must not have been written.
TEST_CASE("TOP_K: a bad index far behind is found before anything is written") {
  constexpr std::uint32_t kCount = 20'000;
  std::vector<std::uint32_t> words = {kCount};
  for (std::uint32_t i = 0; i < kCount; ++i) words.push_back(i);
  words.back() = kCount;
  for (std::uint32_t i = 0; i < kCount; ++i) words.push_back(0x3f800000u);
  CHECK_FALSE(Try(v1::TOP_K, Buffer::FromString(Words(words)), 0, kCount).ok());
  words[kCount] = kCount - 1;
  CHECK(Try(v1::TOP_K, Buffer::FromString(Words(words)), 0, kCount).ok());
}

TEST_CASE("Good payloads decode at every cut into two slices") {
  for (const v1::Encoding encoding : kEncodings) {
    const std::vector<float> values = MakeValues(Kind::kSpread, 11, 3);
    const std::string bytes = reference::EncodeBlock(encoding, values, 5);
    const std::vector<float> want = reference::DecodeBlock(encoding, bytes, values.size());
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
      std::vector<float> out(values.size());
      REQUIRE(DecodeBlock(encoding, Cut(bytes, {cut}), 0, out.size(), out.data()).ok());
      REQUIRE(SameBits(out, want));
    }
  }
}

TEST_CASE("An encoding that is none is refused") {
  for (const int encoding : {-1, 4, 1000}) {
    const auto result = Try(static_cast<v1::Encoding>(encoding), Buffer::FromString(std::string(64, 'x')), 0, 4);
    REQUIRE_FALSE(result.ok());
    CHECK_THAT(Message(result), Contains("encoding " + std::to_string(encoding)));
  }
}

TEST_CASE("Random bytes do no harm") {
  Random random(TestSeed());
  std::size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::size_t count = random.Below(12);
    std::string bytes;
    for (std::uint64_t i = random.Below(60); i > 0; --i) {
      // Small numbers are likely to be almost right.
      bytes.push_back(static_cast<char>(random.Below(3) == 0 ? random.Below(256) : random.Below(2) * random.Below(4)));
    }
    const v1::Encoding encoding = kEncodings[random.Below(4)];
    accepted += Try(encoding, CutAnywhere(bytes, random.Bits()), random.Below(3), count).ok();
  }
  CHECK(accepted > 1000);
  CHECK(accepted < 19'000);
}

}  // namespace
}  // namespace leeway
