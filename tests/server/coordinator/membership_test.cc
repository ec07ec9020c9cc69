#include "server/coordinator/membership.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
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

TEST_CASE("Membership: no more members than the limit") {
  Membership membership(Config(1, 1));
  for (std::size_t i = 0; i < Membership::kMaxMembers; ++i) {
    REQUIRE(membership.Join(At(0), Joiner(absl::StrCat("w", i), 1 + i)).ok());
  }
  CHECK(Says(membership.Join(At(0), Joiner("more", 1)).status(), Code::kResourceExhausted, {"4096"}));
}

// Names join, renew, leave, park and die at random; a model of who holds a lease is compared after every step.
class RandomLives {
 public:
  explicit RandomLives(std::uint64_t seed) : random_(seed), membership_(Config(kShards, kWorkers)) {}

  void Step() {
    now_ += random_.Exponential(0.3);
    const std::string name = absl::StrCat("w", random_.Below(6));
    const std::string before = Text();
    const std::uint64_t epoch = membership_.epoch();
    switch (random_.Below(12)) {
      case 0:
      case 1:
      case 2:
        Join(name);
        break;
      case 3:
      case 4:
      case 5:
        Renew(name);
        break;
      case 6:
      case 7:
        Acknowledge();
        break;
      case 8:
        Promote();
        break;
      case 9:
        if (random_.Chance(0.3)) Leave(name);
        break;
      case 10:
        Park(name);
        break;
      default:
        Expire();
    }
    // Whatever a shard must know has a number of its own.
    if (Text() != before ? membership_.epoch() <= epoch : membership_.epoch() < epoch) FAIL("epoch " << epoch);
    CheckInvariants();
  }

  int joins() const { return joins_; }
  int deaths() const { return deaths_; }
  int promotions() const { return promotions_; }

 private:
  static constexpr std::uint32_t kShards = 3;
  static constexpr std::uint32_t kWorkers = 3;
  struct Life {
    std::uint64_t incarnation = 0;
    double lease_end = 0;
    v1::MemberState state = v1::JOINING;
    std::map<std::uint32_t, std::uint64_t> installed;
  };

  std::string Text() const {
    std::string text;
    for (const auto& [id, member] : membership_.members()) text += member.SerializeAsString();
    return text;
  }

  const v1::Member* Find(const std::string& name) const {
    const auto id = membership_.IdOf(name);
    return id ? membership_.Find(*id) : nullptr;
  }

  void Join(const std::string& name) {
    const auto it = lives_.find(name);
    if (const auto dead = dead_.find(name); dead != dead_.end() && random_.Chance(0.2)) {
      REQUIRE(absl::IsFailedPrecondition(membership_.Join(At(now_), Joiner(name, dead->second)).status()));
      return;
    }
    const bool same = it != lives_.end() && random_.Chance(0.5);
    const std::uint64_t incarnation = same ? it->second.incarnation : ++incarnations_;
    const bool was_started = membership_.started();
    const auto answer = membership_.Join(At(now_), Joiner(name, incarnation));
    REQUIRE(answer.ok());
    if (same) it->second.lease_end = now_ + 10;
    if (it != lives_.end()) {
      // A former incarnation holds the name: nothing changes before its lease ends.
      REQUIRE(Find(name)->incarnation() == it->second.incarnation);
      REQUIRE(answer->accepted == (same && it->second.state != v1::JOINING));
      return;
    }
    if (membership_.started()) {
      if (!was_started) {  // the whole waiting room
        for (const auto& [id, member] : membership_.members()) {
          lives_[member.name()] = {member.incarnation(), now_ + 10, v1::JOINING, {}};
        }
      }
      lives_[name] = {incarnation, now_ + 10, v1::JOINING, {}};
      ++joins_;
    }
  }

  void Renew(const std::string& name) {
    const auto it = lives_.find(name);
    const auto id = membership_.IdOf(name);
    if (!id) return;
    const std::uint64_t incarnation = it != lives_.end() && random_.Chance(0.9) ? it->second.incarnation : 1;
    const bool ok = it != lives_.end() && incarnation == it->second.incarnation;
    REQUIRE(membership_.Renew(At(now_), *id, incarnation).ok() == ok);
    if (ok) it->second.lease_end = now_ + 10;
  }

  // A shard says which joiners it has installed, as it does with every WatchMembership.
  void Acknowledge() {
    const auto shard = static_cast<std::uint32_t>(random_.Below(kShards));
    for (auto& [name, life] : lives_) {
      const std::uint64_t clock = random_.Below(100);
      membership_.Acknowledge(shard, *membership_.IdOf(name), life.incarnation, clock);
      if (life.state == v1::JOINING) life.installed[shard] = clock;
    }
  }

  void Promote() {
    std::uint64_t entry = 0;
    bool all = false;
    for (const auto& [name, life] : lives_) {
      if (life.state != v1::JOINING) continue;
      all = true;
      for (const auto& [shard, clock] : life.installed) entry = std::max(entry, clock);
    }
    for (const auto& [name, life] : lives_) {
      if (life.state == v1::JOINING && life.installed.size() < kShards) all = false;
    }
    REQUIRE(membership_.Promote(std::nullopt) == all);
    if (!all) return;
    ++promotions_;
    for (auto& [name, life] : lives_) {
      if (life.state != v1::JOINING) continue;
      life.state = v1::LIVE;
      life.installed.clear();
      REQUIRE(Find(name)->entry_clock() == entry);
    }
  }

  void Leave(const std::string& name) {
    const auto it = lives_.find(name);
    const auto id = membership_.IdOf(name);
    if (!id) return;
    REQUIRE(membership_.Leave(*id, ++incarnations_).ok());  // a stranger's leaving changes nothing
    if (it == lives_.end()) return;
    REQUIRE(membership_.Leave(*id, it->second.incarnation).ok());
    dead_[name] = it->second.incarnation;
    lives_.erase(it);
  }

  void Park(const std::string& name) {
    const auto it = lives_.find(name);
    if (it == lives_.end()) return;
    if (random_.Chance(0.5)) {
      membership_.Park(*membership_.IdOf(name));
      if (it->second.state == v1::LIVE) it->second.state = v1::PARKED;
    } else {
      membership_.Unpark(*membership_.IdOf(name));
      if (it->second.state == v1::PARKED) it->second.state = v1::JOINING;
    }
  }

  void Expire() {
    std::set<std::string> expected;
    for (const auto& [name, life] : lives_) {
      if (At(life.lease_end) < At(now_)) expected.insert(name);
    }
    std::set<std::string> lost;
    for (const Membership::Lost& gone : membership_.Expire(At(now_))) lost.insert(gone.name);
    REQUIRE(lost == expected);
    for (const std::string& name : lost) {
      dead_[name] = lives_.at(name).incarnation;
      lives_.erase(name);
    }
    deaths_ += static_cast<int>(lost.size());
  }

  void CheckInvariants() {
    std::set<std::string> names;
    std::set<std::uint32_t> ranks;
    REQUIRE(membership_.members().size() == lives_.size());
    REQUIRE(membership_.trainers() == lives_.size());
    for (const auto& [id, member] : membership_.members()) {
      const Life& life = lives_.at(member.name());
      const bool once = names.insert(member.name()).second && ranks.insert(member.rank()).second;
      const bool as_told = member.incarnation() == life.incarnation && member.state() == life.state;
      // A name keeps its id for ever.
      const bool same_id = ids_.try_emplace(member.name(), id).first->second == id;
      if (!once || !as_told || !same_id) FAIL("member " << member.ShortDebugString());
    }
  }

  Random random_;
  Membership membership_;
  double now_ = 0;
  std::uint64_t incarnations_ = 1;
  std::map<std::string, Life> lives_;
  std::map<std::string, std::uint64_t> dead_;  // the last incarnation that ended
  std::map<std::string, std::uint32_t> ids_;
  int joins_ = 0;
  int deaths_ = 0;
  int promotions_ = 0;
};

TEST_CASE("Membership: random lives agree with a model of leases") {
  for (std::uint64_t run = 0; run < 3; ++run) {
    RandomLives lives(TestSeed() + run);
    for (int step = 0; step < 2000; ++step) lives.Step();
    CHECK(lives.joins() > 10);
    CHECK(lives.deaths() > 10);
    CHECK(lives.promotions() > 3);
  }
}

}  // namespace
}  // namespace leeway
