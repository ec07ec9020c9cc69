// Membership: random lives against a model of leases.
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/coordinator/membership.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant{1} + absl::Seconds(seconds); }

// Names join, renew, leave, park and die at random; a model of who holds a lease is compared after every step.
class RandomLives {
 public:
  explicit RandomLives(std::uint64_t seed)
      : random_(seed), membership_({kShards, kWorkers, /*fixed_ranks=*/false, absl::Seconds(10)}) {}

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
      REQUIRE(
          absl::IsFailedPrecondition(membership_.Join(At(now_), {name, dead->second, v1::TRAINER, -1, 32}).status()));
      return;
    }
    const bool same = it != lives_.end() && random_.Chance(0.5);
    const std::uint64_t incarnation = same ? it->second.incarnation : ++incarnations_;
    const bool was_started = membership_.started();
    const auto answer = membership_.Join(At(now_), {name, incarnation, v1::TRAINER, -1, 32});
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
