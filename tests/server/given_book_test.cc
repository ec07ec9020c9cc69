#include "server/given_book.h"

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

// Blocks of 4096, 4096 and 1808 values.
const Placement kPlacement = *Placement::Make(10'000, 1);

v1::PullRequest Pull(std::uint64_t step, std::uint64_t attempt, const ChunkRun& run, v1::Encoding encoding = v1::F32) {
  v1::PullRequest pull;
  pull.set_clock(step);
  pull.set_attempt(attempt);
  pull.set_encoding(encoding);
  pull.mutable_run()->set_first_block(run.first_block);
  pull.mutable_run()->set_num_blocks(run.num_blocks);
  return pull;
}

TEST_CASE("GivenBook: a repetition finds what the first answer is kept in; a newer pull has one of its own") {
  GivenBook book;
  const auto first = book.Open(7, Pull(5, 1, {0, 3}), kPlacement, kNoLimit, 1);
  REQUIRE(first != nullptr);
  CHECK(book.Open(7, Pull(5, 1, {0, 3}), kPlacement, kNoLimit, 1) == first);
  CHECK(book.bytes() == 40'000);
  const auto second = book.Open(7, Pull(5, 2, {0, 3}), kPlacement, kNoLimit, 1);
  REQUIRE(second != nullptr);
  CHECK(second != first);
  CHECK(book.Open(7, Pull(5, 1, {0, 3}), kPlacement, kNoLimit, 1) == nullptr);  // it was overtaken: nobody waits for it
  CHECK(book.Of(7, 5, {0, 3}, 1).given == std::vector{second});
  CHECK(book.bytes() == 40'000);
  // In another encoding it is another answer.
  CHECK(book.Open(7, Pull(5, 2, {0, 3}, v1::BF16), kPlacement, kNoLimit, 1) != second);
  CHECK(book.bytes() == 20'000);
}

TEST_CASE("GivenBook: who does not count its pulls has what the last one brought") {
  GivenBook book;
  const auto first = book.Open(7, Pull(5, 0, {0, 3}), kPlacement, kNoLimit, 1);
  const auto second = book.Open(7, Pull(5, 0, {0, 3}), kPlacement, kNoLimit, 1);
  CHECK(first != second);
  CHECK(book.Of(7, 5, {0, 3}, 1).given == std::vector{second});
  CHECK(book.bytes() == 40'000);
}

TEST_CASE("GivenBook: without room nothing is kept, and what was is gone when it is of an older pull") {
  GivenBook book;
  const auto kept = book.Open(1, Pull(0, 1, {0, 2}), kPlacement, 40'000, 1);
  REQUIRE(kept != nullptr);
  CHECK(book.Open(2, Pull(0, 1, {0, 2}), kPlacement, 40'000, 1) == nullptr);
  CHECK(book.Open(2, Pull(0, 1, {2, 1}), kPlacement, 40'000, 1) != nullptr);
  CHECK(book.Open(1, Pull(0, 1, {0, 2}), kPlacement, 40'000, 1) == kept);
  CHECK(book.bytes() == 40'000);
  CHECK(book.Open(1, Pull(0, 2, {0, 2}), kPlacement, 30'000, 1) == nullptr);
  CHECK(book.Of(1, 0, {0, 3}, 1).given.empty());
  CHECK(book.bytes() == 4 * 1808);
}

TEST_CASE("GivenBook: who pulls ahead has its share, and takes no room from the others") {
  GivenBook book;
  const auto open = [&book](std::uint64_t who, std::uint64_t step, std::size_t workers) {
    return book.Open(who, Pull(step, step + 1, {0, 3}), kPlacement, 80'000, workers) != nullptr;
  };
  CHECK(open(1, 0, 2));
  CHECK_FALSE(open(1, 1, 2));
  CHECK(open(2, 0, 2));
  CHECK(book.bytes() == 80'000);
  book.Drop(1, 0);
  CHECK(open(1, 1, 2));
  // Alone it has all, and what it has it keeps when another comes.
  book.Drop(2);
  CHECK(open(1, 2, 1));
  CHECK_FALSE(open(3, 0, 2));
  book.Drop(1, 1);
  CHECK(open(3, 0, 2));
  book.Drop(1);
  CHECK(open(1, 3, 2));
}

TEST_CASE("GivenBook: a chunk's pieces are found, and whether they are all of it") {
  GivenBook book;
  // Of the blocks of shard 1 of 3: 1, 4, 7, 10, 13.
  const Placement placement = *Placement::Make(16 * 4096, 3);
  const auto first = book.Open(7, Pull(0, 1, {1, 2}), placement, kNoLimit, 1);
  CHECK_FALSE(book.Of(7, 0, {1, 5}, 3).whole);
  const auto second = book.Open(7, Pull(0, 1, {7, 3}), placement, kNoLimit, 1);
  const GivenBook::Found all = book.Of(7, 0, {1, 5}, 3);
  CHECK(all.given == std::vector{first, second});
  CHECK(all.whole);
  CHECK(book.Of(7, 0, {1, 2}, 3).given == std::vector{first});
  CHECK(book.Of(7, 0, {10, 2}, 3).given == std::vector{second});
  CHECK(book.Of(7, 0, {10, 2}, 3).whole);
  CHECK(book.Of(7, 0, {4, 2}, 3).given.size() == 2);
  CHECK(book.Of(7, 1, {1, 5}, 3).given.empty());
  CHECK(book.Of(8, 0, {1, 5}, 3).given.empty());
}

TEST_CASE("GivenWeights: they are made once") {
  GivenWeights given({0, 3});
  CHECK(given.Get().payload.empty());
  int made = 0;
  const auto make = [&made] {
    ++made;
    return GivenWeights::Values{v1::BF16, Buffer::FromString("four"), 9, 8};
  };
  for (int i = 0; i < 2; ++i) {
    const GivenWeights::Values values = given.GetOrMake(make);
    CHECK(values.payload.ToString() == "four");
    CHECK(values.version == 9);
  }
  CHECK(made == 1);
  CHECK(given.Get().ticket_watermark == 8);
}

TEST_CASE("GivenBook: agrees with a map") {
  Random random(TestSeed());
  GivenBook book;
  constexpr std::uint64_t kLimit = 200'000;
  struct Kept {
    std::shared_ptr<GivenWeights> given;
    std::uint64_t attempt = 0;
    v1::Encoding encoding = v1::F32;
    ChunkRun run;
    std::uint64_t bytes() const { return (encoding == v1::BF16 ? 2 : 4) * kPlacement.RunElements(run); }
  };
  std::map<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>, Kept> model;  // incarnation, step, first block
  for (int step = 0; step < 5000; ++step) {
    const std::uint64_t who = 1 + random.Below(3), clock = random.Below(3);
    if (random.Chance(0.1)) {
      book.Drop(who, clock);
      model.erase(model.lower_bound({who, clock, 0}), model.lower_bound({who, clock + 1, 0}));
    } else if (random.Chance(0.05)) {
      book.Drop(who);
      model.erase(model.lower_bound({who, 0, 0}), model.lower_bound({who + 1, 0, 0}));
    } else {
      const std::uint64_t block = random.Below(3);
      const v1::Encoding encodings[] = {v1::F32, v1::BF16, v1::INT8};
      Kept asked{nullptr,
                 random.Below(4),
                 encodings[random.Below(3)],
                 {block, static_cast<std::uint32_t>(1 + random.Below(3 - block))}};
      const std::size_t workers = 1 + random.Below(4);
      const v1::PullRequest pull = Pull(clock, asked.attempt, asked.run, asked.encoding);
      const auto opened = book.Open(who, pull, kPlacement, kLimit, workers);
      const auto known = model.find({who, clock, block});
      if (known != model.end() && asked.attempt != 0 && asked.attempt < known->second.attempt) {
        REQUIRE(opened == nullptr);
        continue;
      }
      const bool same = known != model.end() && asked.attempt != 0 && asked.attempt == known->second.attempt &&
                        asked.encoding == known->second.encoding &&
                        asked.run.num_blocks == known->second.run.num_blocks;
      if (same) {
        REQUIRE(opened == known->second.given);
        continue;
      }
      if (known != model.end()) model.erase(known);
      std::uint64_t bytes = asked.bytes(), own = asked.bytes();
      for (const auto& [key, kept] : model) {
        bytes += kept.bytes();
        if (std::get<0>(key) == who) own += kept.bytes();
        REQUIRE(kept.given != opened);
      }
      REQUIRE((opened != nullptr) == (bytes <= kLimit && own <= kLimit / workers));
      asked.given = opened;
      if (opened != nullptr) model[{who, clock, block}] = asked;
    }
    std::uint64_t bytes = 0;
    for (const auto& [key, kept] : model) bytes += kept.bytes();
    REQUIRE(book.bytes() == bytes);
    for (std::uint64_t block = 0; block < 3; ++block) {
      bool found = false;
      for (const auto& [key, kept] : model) {
        found = found || (std::get<0>(key) == who && std::get<1>(key) == clock && kept.run.first_block <= block &&
                          block < kept.run.first_block + kept.run.num_blocks);
      }
      REQUIRE(book.Of(who, clock, {block, 1}, 1).whole == found);
    }
  }
}

}  // namespace
}  // namespace leeway
