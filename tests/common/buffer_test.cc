#include "common/buffer.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

TEST_CASE("Buffer: random slices agree with a string") {
  Random random(TestSeed());
  for (int round = 0; round < 300; ++round) {
    std::string text;
    Buffer buffer;
    for (std::uint64_t i = random.Below(8); i > 0; --i) {
      const std::string piece(random.Below(20), static_cast<char>('a' + random.Below(26)));
      text += piece;
      buffer.Append(Buffer::FromString(piece));
    }
    REQUIRE(buffer.size() == text.size());
    REQUIRE(buffer.ToString() == text);
    for (const Buffer::Slice& slice : buffer.slices()) REQUIRE(slice.size > 0);
    const std::size_t begin = random.Below(text.size() + 1);
    const std::size_t size = random.Below(text.size() - begin + 1);
    REQUIRE(buffer.Sub(begin, size).ToString() == text.substr(begin, size));
    std::string out(size, '?');
    buffer.CopyTo(begin, size, out.data());
    REQUIRE(out == text.substr(begin, size));
  }
}

TEST_CASE("Buffer: slices are shared, not copied, and keep their owner alive") {
  auto owner = std::make_shared<std::string>("0123456789");
  const std::weak_ptr<std::string> watch = owner;
  const char* data = owner->data();
  Buffer whole = Buffer::Wrap(owner, data, 10);
  owner.reset();
  Buffer part = whole.Sub(3, 4);
  CHECK(part.slices()[0].data == data + 3);
  whole = {};
  CHECK_FALSE(watch.expired());
  CHECK(part.ToString() == "3456");
  part = {};
  CHECK(watch.expired());
}

TEST_CASE("Buffer: what it was told to keep lives as long as its first byte, in every copy") {
  auto owner = std::make_shared<std::string>("0123456789");
  auto kept = std::make_shared<int>(1);
  const std::weak_ptr<std::string> owner_watch = owner;
  const std::weak_ptr<int> kept_watch = kept;
  Buffer whole = Buffer::Wrap(owner, owner->data(), 10);
  whole.Append(Buffer::FromString("more"));
  owner.reset();
  whole.Keep(std::move(kept));
  CHECK(whole.ToString() == "0123456789more");
  Buffer copy = whole;
  Buffer tail = whole.Sub(10, 4);
  whole = {};
  CHECK_FALSE(kept_watch.expired());
  CHECK_FALSE(owner_watch.expired());
  copy = {};
  CHECK(kept_watch.expired());
  CHECK(owner_watch.expired());
  CHECK(tail.ToString() == "more");
  Buffer().Keep(std::make_shared<int>(2));
}

TEST_CASE("Buffer: floats come by reference where they can, else copied") {
  std::vector<float> floats = {1, 2, 3, 4};
  const char* bytes = reinterpret_cast<const char*>(floats.data());
  float scratch[4];
  const Buffer whole = Buffer::Wrap(nullptr, bytes, 16);
  CHECK(whole.Floats(4, 3, scratch) == floats.data() + 1);
  CHECK(whole.Floats(0, 0, scratch) == scratch);
  for (std::size_t split = 1; split < 16; ++split) {
    Buffer buffer = Buffer::Wrap(nullptr, bytes, split);
    buffer.Append(Buffer::Wrap(nullptr, bytes + split, 16 - split));
    const float* read = buffer.Floats(0, 4, scratch);
    CHECK(read == scratch);
    CHECK(std::memcmp(read, floats.data(), 16) == 0);
  }
  std::string shifted = "x" + std::string(bytes, 16);
  const Buffer odd = Buffer::Wrap(nullptr, shifted.data() + 1, 16);
  CHECK(std::memcmp(odd.Floats(0, 4, scratch), floats.data(), 16) == 0);
}

}  // namespace
}  // namespace leeway
