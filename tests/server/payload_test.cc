#include "server/payload.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/encode_run.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

constexpr auto kCode = absl::StatusCode::kInvalidArgument;
constexpr v1::Encoding kEncodings[] = {v1::F32, v1::BF16, v1::INT8, v1::TOP_K};

// Shard 1 of 2 owns blocks 1 and 3 of 4096, 4096, 4096 and 1000.
struct Fixture {
  Fixture() {
    run.set_first_block(1);
    run.set_num_blocks(2);
    Random random(TestSeed());
    for (float& value : values) value = static_cast<float>(random.Unit() - 0.5);
  }
  std::string Encoded(v1::Encoding encoding) const {
    return EncodeRun(placement, chunk, encoding, values, 0.01).ToString();
  }
  absl::Status Check(v1::Encoding encoding, const std::string& bytes) const {
    return CheckPayload(placement, run, encoding, Buffer::FromString(bytes), "gradient");
  }
  // Of a payload that is good.
  std::size_t Bad(v1::Encoding encoding, const std::string& bytes) const {
    REQUIRE(Check(encoding, bytes).ok());
    return FirstNonFiniteIn(placement, run, encoding, Buffer::FromString(bytes));
  }

  static constexpr std::size_t kElements = 4096 + 1000;
  const Placement placement = *Placement::Make(3 * 4096 + 1000, 2);
  const ChunkRun chunk{1, 2};
  v1::BlockRun run;
  std::vector<float> values = std::vector<float>(kElements);
};

void Overwrite(std::string* bytes, std::size_t at, float value) { std::memcpy(&bytes->at(at), &value, sizeof value); }

TEST_CASE("CheckPayload: whole blocks and nothing more, in every encoding") {
  const Fixture f;
  for (const v1::Encoding encoding : kEncodings) {
    const std::string name = v1::Encoding_Name(encoding);
    CAPTURE(name);
    const std::string good = f.Encoded(encoding);
    CHECK(f.Check(encoding, good).ok());
    const std::string size = std::to_string(good.size());
    const std::string one_less = std::to_string(good.size() - 1), one_more = std::to_string(good.size() + 1);
    CHECK(Says(f.Check(encoding, good.substr(1)), kCode, {"gradient of", one_less.c_str(), name.c_str(), "2 blocks"}));
    CHECK(Says(f.Check(encoding, good + "x"), kCode, {one_more.c_str(), size.c_str(), name.c_str()}));
    CHECK_FALSE(f.Check(encoding, "").ok());
  }
}

TEST_CASE("CheckPayload: TOP_K's counts and indices are read") {
  const Fixture f;
  std::string bytes = f.Encoded(v1::TOP_K);
  const std::uint32_t kept = 41;  // of 4096
  const std::uint32_t beyond = 1000;
  std::memcpy(&bytes[4 + 8 * kept + 4 + 9 * 4], &beyond, 4);  // the last index of the second block
  CHECK(Says(f.Check(v1::TOP_K, bytes), kCode, {"block 3", "index 1000", "place 9"}));
  const std::uint32_t more = 5000;
  std::memcpy(bytes.data(), &more, 4);
  CHECK(Says(f.Check(v1::TOP_K, bytes), kCode, {"block 1", "5000 values"}));
}

TEST_CASE("FirstNonFiniteIn: all finite") {
  const Fixture f;
  for (const v1::Encoding encoding : kEncodings) CHECK(f.Bad(encoding, f.Encoded(encoding)) == Fixture::kElements);
}

TEST_CASE("FirstNonFiniteIn: what only shows when it is decoded") {
  const Fixture f;
  const float infinity = std::numeric_limits<float>::infinity();
  std::string bytes = f.Encoded(v1::F32);
  Overwrite(&bytes, 4 * 4100, -infinity);
  CHECK(f.Bad(v1::F32, bytes) == 4100);

  bytes = f.Encoded(v1::BF16);
  bytes[2 * 4097] = '\x80';  // 0x7f80: infinity
  bytes[2 * 4097 + 1] = '\x7f';
  CHECK(f.Bad(v1::BF16, bytes) == 4097);

  const std::size_t second = 4 + 4096;  // where the second block's scale lies
  for (const float scale : {infinity, std::nanf(""), std::numeric_limits<float>::max()}) {
    bytes = f.Encoded(v1::INT8);
    Overwrite(&bytes, second, scale);
    std::memset(&bytes[second + 4], 0, 1000);
    bytes[second + 4 + 7] = 127;  // 0 * infinity is no number either, 0 * the greatest is 0
    CHECK(f.Bad(v1::INT8, bytes) == 4096 + (std::isfinite(scale) ? 7u : 0u));
  }

  bytes = f.Encoded(v1::TOP_K);
  std::uint32_t index = 0;
  std::memcpy(&index, &bytes[4 + 4 * 3], 4);
  Overwrite(&bytes, 4 + 4 * 41 + 4 * 3, std::nanf(""));
  CHECK(f.Bad(v1::TOP_K, bytes) == index);
}

}  // namespace
}  // namespace leeway
