#include "server/delta_book.h"

#include <cstdint>
#include <map>
#include <set>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

// Blocks of 4096, 4096 and 1808 values.
const Placement kPlacement = *Placement::Make(10'000, 1);

TEST_CASE("DeltaBook: a copy stays with its incarnation and run, and its bytes are counted") {
  DeltaBook book(1);
  const auto first = book.Open(7, {0, 3}, kPlacement, kNoLimit);
  REQUIRE(first.copy != nullptr);
  CHECK(book.bytes() == 40'000);
  const auto again = book.Open(7, {0, 3}, kPlacement, kNoLimit);
  CHECK(again.copy == first.copy);
  CHECK(again.sequence != first.sequence);
  CHECK(book.Open(8, {0, 3}, kPlacement, kNoLimit).copy != first.copy);
  CHECK(book.bytes() == 80'000);
  CHECK(book.Open(7, {2, 1}, kPlacement, kNoLimit).copy != first.copy);
  CHECK(book.bytes() == 80'000 + 4 * 1808);
  // Of another length: another copy, in the place of the first.
  CHECK(book.Open(7, {0, 2}, kPlacement, kNoLimit).copy != first.copy);
  CHECK(book.bytes() == 40'000 + 4 * 8192 + 4 * 1808);
  book.Drop(7);
  CHECK(book.bytes() == 40'000);
  book.Drop(7);
  book.Drop(8);
  CHECK(book.bytes() == 0);
}

TEST_CASE("DeltaBook: no copy beyond the limit, but who has one keeps it") {
  DeltaBook book(1);
  const auto kept = book.Open(1, {0, 3}, kPlacement, 40'000);
  REQUIRE(kept.copy != nullptr);
  const auto refused = book.Open(2, {2, 1}, kPlacement, 40'000);
  CHECK(refused.copy == nullptr);
  CHECK(refused.sequence == 0);
  CHECK(book.Open(1, {0, 3}, kPlacement, 40'000).copy == kept.copy);
  book.Drop(1);
  CHECK(book.Open(2, {2, 1}, kPlacement, 40'000).copy != nullptr);
}

TEST_CASE("DeltaBook: agrees with a map, and no number comes twice") {
  Random random(TestSeed());
  DeltaBook book(1);
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::pair<std::shared_ptr<WorkerCopy>, std::uint64_t>> model;
  std::set<std::uint64_t> numbers;
  for (int step = 0; step < 3000; ++step) {
    const std::uint64_t who = 1 + random.Below(4);
    if (random.Chance(0.1)) {
      book.Drop(who);
      model.erase(model.lower_bound({who, 0}), model.lower_bound({who + 1, 0}));
    } else {
      const std::uint64_t block = random.Below(3);
      const ChunkRun run{block, static_cast<std::uint32_t>(1 + random.Below(3 - block))};
      const std::uint64_t bytes = 4 * kPlacement.RunElements(run);
      const auto known = model.find({who, block});
      const bool same = known != model.end() && known->second.second == bytes;
      const auto opened = book.Open(who, run, kPlacement, 100'000);
      REQUIRE(numbers.insert(opened.sequence == 0 ? ~std::uint64_t{step + 0u} : opened.sequence).second);
      if (same) REQUIRE(opened.copy == known->second.first);
      if (!same && known != model.end()) model.erase(known);
      if (opened.copy != nullptr) model[{who, block}] = {opened.copy, bytes};
    }
    std::uint64_t bytes = 0;
    for (const auto& [key, entry] : model) bytes += entry.second;
    REQUIRE(book.bytes() == bytes);
    REQUIRE(bytes <= 100'000);
  }
}

}  // namespace
}  // namespace leeway
