#include "server/round_book.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

struct Given {
  std::map<std::uint32_t, std::string> chunks;  // "" for a refused one
  std::uint32_t count = 0;                      // 0: no chunk has come
  std::uint64_t samples = 0;
  bool refused = false;
  bool null = false;
  bool Whole() const { return null || (count > 0 && chunks.size() == count); }
};

TEST_CASE("RoundBook: agrees with maps of strings") {
  Random random(TestSeed());
  RoundBook book;
  std::map<std::uint64_t, std::map<std::uint32_t, Given>> model;
  std::uint64_t open = 0;
  for (int step = 0; step < 20000; ++step) {
    const std::uint64_t round = open + random.Below(2);
    const auto rank = static_cast<std::uint32_t>(random.Below(4));
    Given& given = model[round][rank];
    const auto count = static_cast<std::uint32_t>(1 + (round + rank) % 3);
    const auto chunk = static_cast<std::uint32_t>(random.Below(count));
    if (random.Chance(0.05)) {
      const bool was = given.Whole();
      const bool refused = random.Chance(0.5);
      REQUIRE(book.Settle(round, rank, refused) == !was);
      given.null = given.null || !was;
      given.refused = given.refused || (!was && refused);
    } else if (!given.Whole() && given.chunks.count(chunk) == 0) {
      given.count = count;
      if (random.Chance(0.05)) {
        given.refused = true;
        given.chunks[chunk] = "";
        REQUIRE(book.AddRefused(round, rank, chunk, count) == given.Whole());
      } else {
        given.samples = 10 + rank;
        given.chunks[chunk] = std::string(1 + random.Below(30), static_cast<char>('a' + rank));
        REQUIRE(book.Add(round, rank, given.samples, chunk, count,
                         {v1::BF16, Buffer::FromString(given.chunks[chunk])}) == given.Whole());
      }
    }
    if (random.Chance(0.03)) {
      open += random.Below(2);
      const RoundBook::Contributions taken = book.Take(open);
      for (const auto& [who, contribution] : taken) {
        const Given& expected = model[open][who];
        REQUIRE(contribution.whole() == expected.Whole());
        REQUIRE(contribution.refused == expected.refused);
        REQUIRE(contribution.usable() == (expected.Whole() && !expected.refused && !expected.null));
        for (const auto& [i, bytes] : expected.chunks) REQUIRE(contribution.chunks[i].payload.ToString() == bytes);
      }
      ++open;
      model.erase(model.begin(), model.lower_bound(open));
    }
    std::uint64_t bytes = 0;
    for (const auto& [r, ranks] : model) {
      std::vector<std::uint32_t> whole;
      for (const auto& [who, what] : ranks) {
        for (const auto& [i, text] : what.chunks) bytes += text.size();
        if (what.Whole()) whole.push_back(who);
        REQUIRE(book.IsWhole(r, who) == what.Whole());
      }
      std::vector<std::uint32_t> told;
      for (const v1::RoundContribution& contribution : book.Whole(r)) {
        const Given& expected = model[r][contribution.rank()];
        REQUIRE(contribution.usable() == (!expected.refused && !expected.null));
        REQUIRE(contribution.samples() == expected.samples);
        told.push_back(contribution.rank());
      }
      REQUIRE(told == whole);  // ascending
    }
    REQUIRE(book.held_bytes() == bytes);
  }
}

TEST_CASE("RoundBook: a push to a shard without blocks is whole and usable without a chunk, once") {
  RoundBook book;
  CHECK(book.AddEmpty(1, 2, 30));
  CHECK_FALSE(book.AddEmpty(1, 2, 30));  // a repetition
  CHECK_FALSE(book.Settle(1, 2, true));  // it has been given
  CHECK(book.Settle(1, 3, true));
  CHECK_FALSE(book.AddEmpty(1, 3, 30));  // it has been refused
  const std::vector<v1::RoundContribution> whole = book.Whole(1);
  REQUIRE(whole.size() == 2);
  CHECK(whole[0].usable());
  CHECK(whole[0].samples() == 30);
  CHECK_FALSE(whole[1].usable());
  CHECK(book.held_bytes() == 0);
  CHECK(book.Take(1).at(2).usable());
}

TEST_CASE("RoundBook: taking a round drops the earlier ones") {
  RoundBook book;
  book.Add(1, 0, 1, 0, 1, {v1::F32, Buffer::FromString("abc")});
  book.Add(2, 0, 1, 0, 1, {v1::INT8, Buffer::FromString("de")});
  book.Add(3, 0, 1, 0, 1, {v1::F32, Buffer::FromString("f")});
  CHECK(book.Take(2).size() == 1);
  CHECK(book.held_bytes() == 1);
  CHECK_FALSE(book.IsWhole(1, 0));
  CHECK(book.Take(7).empty());
  CHECK(book.held_bytes() == 0);
}

}  // namespace
}  // namespace leeway
