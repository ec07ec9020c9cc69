#include "server/coordinator/membership.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
constexpr absl::Duration kLease = absl::Seconds(10);

Instant At(double seconds) { return Instant{1} + absl::Seconds(seconds); }

Membership::Config Config(std::uint32_t shards, std::uint32_t workers, bool fixed_ranks = false) {
  return {shards, workers, fixed_ranks, kLease};
}

Membership::Joiner Joiner(const std::string& name, std::uint64_t incarnation, std::int32_t rank = -1) {
  return {name, incarnation, v1::TRAINER, rank, 32};
}

void InstallAll(Membership& membership, std::uint32_t shards, std::uint64_t clock = 0) {
  const std::map<std::uint32_t, v1::Member> members = membership.members();
  for (const auto& [id, member] : members) {
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      membership.Acknowledge(shard, id, member.incarnation(), clock);
    }
  }
}

std::map<std::string, std::uint32_t> Ranks(const Membership& membership) {
  std::map<std::string, std::uint32_t> ranks;
  for (const auto& [id, member] : membership.members()) ranks[member.name()] = member.rank();
  return ranks;
}

TEST_CASE("Membership: the start waits for num_workers, and ranks follow the names, not the order of arrival") {
  std::vector<std::string> names = {"a", "b", "c", "d"};
  Random random(TestSeed());
  for (int round = 0; round < 20; ++round) {
    std::swap(names[random.Below(4)], names[random.Below(4)]);
    Membership membership(Config(1, 4));
    for (std::size_t i = 0; i < names.size(); ++i) {
      CHECK_FALSE(membership.started());
      const auto answer = membership.Join(At(0), Joiner(names[i], 10 + i));
      REQUIRE(answer.ok());
      CHECK_FALSE(answer->accepted);
      if (i < 3) CHECK(answer->waiting.find(absl::StrCat(i + 1, " of 4")) != std::string::npos);
    }
    CHECK(membership.started());
    CHECK(Ranks(membership) == std::map<std::string, std::uint32_t>{{"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}});
  }
}

TEST_CASE("Membership: asked-for ranks are kept for who asked, the others get what is left") {
  Membership membership(Config(1, 3, true));
  REQUIRE(membership.Join(At(0), Joiner("a", 1)).ok());
  REQUIRE(membership.Join(At(0), Joiner("z", 2, 0)).ok());
  CHECK(Says(membership.Join(At(0), Joiner("y", 3, 0)).status(), Code::kFailedPrecondition, {"'y'", "rank 0", "'z'"}));
  CHECK(Says(membership.Join(At(0), Joiner("y", 3, 3)).status(), Code::kFailedPrecondition, {"rank 3", "0 to 2"}));
  REQUIRE(membership.Join(At(0), Joiner("y", 3)).ok());
  CHECK(Ranks(membership) == std::map<std::string, std::uint32_t>{{"z", 0}, {"a", 1}, {"y", 2}});
  CHECK(Says(membership.Join(At(0), Joiner("b", 9)).status(), Code::kFailedPrecondition, {"no rank is left", "3"}));
  CHECK(Says(membership.Join(At(0), Joiner("b", 9, 1)).status(), Code::kFailedPrecondition, {"rank 1", "'a'"}));
}

TEST_CASE("Membership: the start waits for evaluators too where it is told to") {
  Membership::Config config = Config(1, 1);
  config.num_evaluators = 1;
  Membership membership(config);
  const auto early = membership.Join(At(0), Joiner("a", 1));
  REQUIRE(early.ok());
  CHECK(early->waiting == "1 of 1 workers have come: a; 0 of 1 evaluators have come");
  CHECK(membership.members().empty());
  Membership::Joiner evaluator = Joiner("eval", 2);
  evaluator.role = v1::EVALUATOR;
  CHECK(membership.Join(At(0), evaluator)->accepted);
  CHECK_FALSE(membership.started());
  CHECK(membership.Join(At(0), Joiner("a", 1))->waiting == "the shards install the first workers");
  CHECK(membership.started());
}

TEST_CASE("Membership: more workers than ranks have waited for the evaluators; the start leaves out who has no rank") {
  Membership::Config config = Config(1, 2, true);
  config.num_evaluators = 1;
  Membership membership(config);
  for (const char* name : {"a", "b", "c"}) REQUIRE(membership.Join(At(0), Joiner(name, 1)).ok());
  Membership::Joiner evaluator = Joiner("eval", 2);
  evaluator.role = v1::EVALUATOR;
  REQUIRE(membership.Join(At(0), evaluator)->accepted);
  const auto first = membership.Join(At(0), Joiner("a", 1));
  INFO(first.status().ToString());
  REQUIRE(first.ok());
  CHECK(membership.started());
  CHECK(membership.StartWaitsFor().empty());
  CHECK(membership.Join(At(0), Joiner("b", 1)).ok());
  CHECK(Says(membership.Join(At(0), Joiner("c", 1)).status(), Code::kFailedPrecondition, {"no rank is left", "'c'"}));
  CHECK(membership.trainers() == 2);
  // Who has a rank comes back to it, as after any other start.
  REQUIRE(membership.Leave(*membership.IdOf("b"), 1).ok());
  CHECK(membership.Join(At(0), Joiner("b", 3)).ok());
  CHECK(membership.trainers() == 2);
}

TEST_CASE("Membership: joiners go live together, at the maximum of the acknowledged clocks") {
  Membership membership(Config(2, 2));
  REQUIRE(membership.Join(At(0), Joiner("a", 1)).ok());
  REQUIRE(membership.Join(At(0), Joiner("b", 2)).ok());
  CHECK_FALSE(membership.Promote(std::nullopt));
  membership.Acknowledge(0, 0, 1, 4);
  membership.Acknowledge(1, 0, 1, 6);
  membership.Acknowledge(0, 1, 2, 5);
  membership.Acknowledge(1, 1, 99, 50);  // another incarnation
  CHECK_FALSE(membership.Promote(std::nullopt));
  CHECK(membership.Find(0)->state() == v1::JOINING);
  membership.Acknowledge(1, 1, 2, 5);
  const std::uint64_t before = membership.epoch();
  CHECK(membership.Promote(std::nullopt));
  CHECK(membership.epoch() > before);
  for (std::uint32_t id : {0u, 1u}) {
    CHECK(membership.Find(id)->state() == v1::LIVE);
    CHECK(membership.Find(id)->entry_clock() == 6);
  }
  CHECK(membership.MeanSamples() == 32);
  CHECK_FALSE(membership.Promote(std::nullopt));  // nobody is left to promote
}

TEST_CASE("Membership: in rounds the entry is the round that the coordinator names") {
  Membership membership(Config(1, 1, true));
  REQUIRE(membership.Join(At(0), Joiner("a", 1)).ok());
  InstallAll(membership, 1, 17);
  CHECK(membership.Promote(3));
  CHECK(membership.Find(0)->entry_clock() == 3);
}

TEST_CASE("Membership: a new incarnation waits for the old one's lease, then has its id and rank") {
  Membership membership(Config(1, 1, true));
  REQUIRE(membership.Join(At(0), Joiner("a", 1)).ok());
  InstallAll(membership, 1);
  REQUIRE(membership.Promote(std::nullopt));
  const auto early = membership.Join(At(5), Joiner("a", 2));
  REQUIRE(early.ok());
  CHECK_FALSE(early->accepted);
  CHECK(early->waiting.find("lease ends in 5s") != std::string::npos);
  CHECK(membership.Expire(At(10)).empty());  // the lease ends then, not before
  const auto lost = membership.Expire(At(10.5));
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].name == "a");
  CHECK(lost[0].incarnation == 1);
  CHECK(lost[0].overdue == absl::Milliseconds(500));
  CHECK(Says(membership.Renew(At(11), 0, 1), Code::kFailedPrecondition, {"incarnation 1", "live incarnation: none"}));
  REQUIRE(membership.Join(At(11), Joiner("a", 2)).ok());
  CHECK(membership.IdOf("a") == 0u);
  CHECK(membership.Find(0)->rank() == 0);
  CHECK(Says(membership.Renew(At(11), 0, 1), Code::kFailedPrecondition, {"incarnation 1", "live incarnation: 2"}));
  InstallAll(membership, 1);
  REQUIRE(membership.Promote(std::nullopt));
  const auto again = membership.Join(At(12), Joiner("a", 2));
  REQUIRE(again.ok());
  CHECK(again->accepted);
}

TEST_CASE("Membership: an incarnation that has ended does not come back, whatever still arrives in its name") {
  Membership membership(Config(1, 1));
  REQUIRE(membership.Join(At(0), Joiner("a", 1)).ok());
  REQUIRE(membership.Join(At(0), {"eval", 7, v1::EVALUATOR, -1, 0}).ok());
  REQUIRE(membership.Expire(At(20)).size() == 2);
  const std::uint64_t epoch = membership.epoch();
  const auto refused = [&membership](const Membership::Joiner& joiner, const std::string& what) {
    return Says(membership.Join(At(21), joiner).status(), Code::kFailedPrecondition, {what.c_str(), "join again"});
  };
  CHECK(refused(Joiner("a", 1), "incarnation 1 of worker 'a'"));
  CHECK(refused({"eval", 7, v1::EVALUATOR, -1, 0}, "incarnation 7 of worker 'eval'"));
  CHECK(membership.epoch() == epoch);
  CHECK(membership.members().empty());
  // Nor while its successor lives, nor when that has left.
  REQUIRE(membership.Join(At(22), Joiner("a", 2)).ok());
  CHECK(refused(Joiner("a", 1), "incarnation 1 of worker 'a'"));
  REQUIRE(membership.Leave(*membership.IdOf("a"), 2).ok());
  CHECK(refused(Joiner("a", 2), "incarnation 2 of worker 'a'"));
  // Another name may have drawn the same number.
  CHECK(membership.Join(At(23), Joiner("b", 2)).ok());
  CHECK(membership.Join(At(23), Joiner("a", 3)).ok());
}

TEST_CASE("Membership: who stops asking before the start is forgotten") {
  Membership membership(Config(1, 2));
  REQUIRE(membership.Join(At(0), Joiner("a", 1)).ok());
  membership.Expire(At(11));
  CHECK(membership.StartWaitsFor().find("0 of 2") != std::string::npos);
  REQUIRE(membership.Join(At(12), Joiner("b", 2)).ok());
  CHECK_FALSE(membership.started());
}

TEST_CASE("Membership: a pause of the coordinator is nobody's fault") {
  Membership membership(Config(1, 1));
  REQUIRE(membership.Join(At(0), Joiner("a", 1)).ok());
  membership.RenewAll(At(60));
  CHECK(membership.Expire(At(69)).empty());
  CHECK(membership.Expire(At(71)).size() == 1);
}

TEST_CASE("Membership: an evaluator is in at once, and is no trainer") {
  Membership membership(Config(3, 1));
  const auto answer = membership.Join(At(0), {"eval", 7, v1::EVALUATOR, -1, 0});
  REQUIRE(answer.ok());
  CHECK(answer->accepted);
  CHECK(membership.observers() == 1);
  CHECK(membership.trainers() == 0);
  CHECK_FALSE(membership.started());
  REQUIRE(membership.Join(At(0), Joiner("a", 1)).ok());
  CHECK(membership.started());
  CHECK(Ranks(membership)["a"] == 0);
}

TEST_CASE("Membership: names run out: the one that was gone longest is forgotten, members and who is kept are not") {
  std::optional<Membership> membership(Config(1, 1));
  std::uint64_t incarnation = 1;
  const auto live = [&](const std::string& name) {
    const absl::Status joined = membership->Join(At(0), Joiner(name, incarnation)).status();
    if (joined.ok()) CHECK(membership->Leave(*membership->IdOf(name), incarnation).ok());
    ++incarnation;
    return joined;
  };
  REQUIRE(membership->Join(At(0), Joiner("stays", incarnation++)).ok());
  REQUIRE(live("bad").ok());
  REQUIRE(live("again").ok());
  while (membership->IdOf(absl::StrCat("n", Membership::kMostIds - 4)) == std::nullopt) {
    REQUIRE(live(absl::StrCat("n", incarnation - 4)).ok());
  }
  REQUIRE(live("again").ok());  // so it is not the oldest any more
  membership->Keep("bad");
  for (const bool restored : {false, true}) {
    if (restored) {
      v1::MembershipState state;
      membership->Save(&state);
      membership.emplace(Config(1, 1));
      REQUIRE(membership->Restore(At(0), state).ok());
      membership->Keep("bad");
    }
    const std::string oldest = restored ? "n1" : "n0";
    const std::uint32_t id = *membership->IdOf(oldest);
    REQUIRE(live(restored ? "new 1" : "new 0").ok());
    CHECK(membership->IdOf(restored ? "new 1" : "new 0") == id);
    CHECK_FALSE(membership->IdOf(oldest));
    CHECK_FALSE(membership->RankOf(oldest));
    CHECK(membership->IdOf("n2"));
    for (const char* name : {"stays", "bad", "again"}) CHECK(membership->IdOf(name));
  }
  // None of them may be forgotten.
  v1::MembershipState state;
  membership->Save(&state);
  for (const auto& [name, id] : state.ids()) membership->Keep(name);
  CHECK(Says(live("more"), Code::kResourceExhausted, {"8192 names", "'more'"}));
}

TEST_CASE("Membership: a rank that is given back is free again, an evaluator's number is none") {
  Membership membership(Config(1, 1));
  REQUIRE(membership.Join(At(0), Joiner("a", 1, 5)).ok());
  Membership::Joiner evaluator = Joiner("e", 2);
  evaluator.role = v1::EVALUATOR;
  REQUIRE(membership.Join(At(0), evaluator).ok());  // its rank is 0, as a number that nobody has set
  CHECK(Says(membership.Join(At(1), Joiner("b", 3, 5)).status(), Code::kFailedPrecondition, {"rank 5", "'a'"}));
  REQUIRE(membership.Join(At(1), Joiner("c", 4, 0)).ok());
  REQUIRE(membership.Leave(*membership.IdOf("e"), 2).ok());
  CHECK(Says(membership.Join(At(1), Joiner("d", 5, 0)).status(), Code::kFailedPrecondition, {"rank 0", "'c'"}));
  REQUIRE(membership.Leave(*membership.IdOf("a"), 1).ok());
  REQUIRE(membership.Join(At(2), Joiner("b", 3, 5)).ok());
  CHECK(Ranks(membership)["b"] == 5);
}

TEST_CASE("Membership: another limit, for simulations") {
  Membership::Config config = Config(1, 1);
  config.max_members = 3;
  Membership membership(config);
  for (const std::string name : {"a", "b", "c"}) REQUIRE(membership.Join(At(0), Joiner(name, 1)).ok());
  CHECK(Says(membership.Join(At(0), Joiner("more", 1)).status(), Code::kResourceExhausted, {"at most 3"}));
}

TEST_CASE("Membership: no more members than the limit") {
  Membership membership(Config(1, 1));
  for (std::size_t i = 0; i < Membership::kMaxMembers; ++i) {
    REQUIRE(membership.Join(At(0), Joiner(absl::StrCat("w", i), 1 + i)).ok());
  }
  CHECK(Says(membership.Join(At(0), Joiner("more", 1)).status(), Code::kResourceExhausted, {"4096"}));
}

}  // namespace
}  // namespace leeway
