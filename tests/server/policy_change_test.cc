// PolicyCourse and PolicyBook together, as a coordinator and its shards use them, against an obvious model: workers
// whose steps are admitted shard by shard, messages that are late or repeated, ps that are killed, a coordinator that
// is.
//
// What must hold: all shards admit a step under one policy; no step waits for ever.
#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/clock_table.h"
#include "server/coordinator/policy_course.h"
#include "server/policy_book.h"
#include "server/staleness_gate.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

v1::Policy PolicyOf(std::int64_t bound) {
  v1::Policy policy;
  policy.set_number(1);
  policy.set_staleness_bound(bound);
  return policy;
}

struct Worker {
  std::uint64_t incarnation = 1;
  std::uint64_t step = 0;                          // that it is at
  std::set<std::uint32_t> admitted;                // shards, of this step
  std::optional<std::set<std::uint32_t>> pushing;  // shards that have not got the step's push yet
};

struct ShardModel {
  struct Member {
    std::uint64_t incarnation = 0;
    std::uint64_t clock = 0;   // steps that are settled here
    std::uint64_t pulled = 0;  // one above the newest that was admitted
    std::uint64_t may_have_pulled = 0;
    std::uint64_t offset = 0;
    std::uint64_t previous_offset = 0;
  };
  PolicyBook book;
  std::uint64_t known = 0;  // snapshot
  std::map<std::uint32_t, Member> members;
};

class Model {
 public:
  Model(std::uint64_t seed, std::int64_t bound)
      : random_(seed),
        shards_(1 + random_.Below(3)),
        workers_(1 + random_.Below(4)),
        begin_(PolicyOf(bound)),
        course_(std::make_unique<PolicyCourse>(begin_, static_cast<std::uint32_t>(shards_.size()))) {
    for (ShardModel& shard : shards_) {
      shard.book = PolicyBook(begin_);
      for (std::uint32_t w = 0; w < workers_.size(); ++w) shard.members[w].incarnation = 1;
    }
    Publish();
  }

  std::string Run() {
    for (int i = 0; i < 1500 && wrong_.empty(); ++i) Act(true);
    // Without faults everybody goes on, and what is under way comes to its end.
    std::vector<std::uint64_t> steps;
    for (const Worker& worker : workers_) steps.push_back(worker.step);
    for (int i = 0; i < 6000 && wrong_.empty(); ++i) Act(false);
    for (std::size_t w = 0; w < workers_.size() && wrong_.empty(); ++w) {
      if (workers_[w].step < steps[w] + 5) wrong_ = absl::StrCat("worker ", w, " stands at step ", workers_[w].step);
    }
    if (wrong_.empty() && course_->pending()) wrong_ = "a change stays pending";
    if (wrong_.empty() && !course_->InEffect()) wrong_ = "the policy is not in effect";
    return wrong_;
  }

  std::uint64_t decided = 0, given_up = 0, rebased = 0, mixed_snapshots = 0;

 private:
  struct Snapshot {
    v1::Policy policy;
    v1::PolicyChange change;
    std::vector<std::uint64_t> incarnations;
  };

  void Publish() {
    Snapshot snapshot{course_->policy(), course_->change(), {}};
    for (const Worker& worker : workers_) snapshot.incarnations.push_back(worker.incarnation);
    snapshots_.push_back(std::move(snapshot));
  }

  std::string Busy(const ShardModel& shard) const {
    for (const auto& [w, member] : shard.members) {
      if (shard.book.Before(w, member.incarnation, member.clock)) return "a step of before";
      if (member.clock < member.may_have_pulled) return "was started again";
    }
    return "";
  }

  // As Shard::ApplySnapshot does it.
  void Follow(ShardModel& shard, std::size_t index, bool restarted) {
    const Snapshot& snapshot = snapshots_[index];
    shard.known = index;
    for (std::uint32_t w = 0; w < workers_.size(); ++w) {
      ShardModel::Member& member = shard.members[w];
      if (member.incarnation == snapshot.incarnations[w]) continue;
      // A new life enters where the slowest is; the others are not in its way.
      std::uint64_t entry = 0;
      for (const auto& [other, known] : shard.members) entry = std::max(entry, known.clock + known.offset);
      member = ShardModel::Member{snapshot.incarnations[w], EntryOf(w, snapshot.incarnations[w], entry)};
    }
    std::vector<v1::StepLimit> read;
    std::string error;
    if (shard.book.Begins(snapshot.change)) {
      error = restarted ? "was started again" : Busy(shard);
      for (const auto& [w, member] : shard.members) {
        v1::StepLimit& limit = read.emplace_back();
        limit.set_worker_id(w);
        limit.set_incarnation(member.incarnation);
        limit.set_clock(std::max(member.pulled, member.clock));
        limit.set_offset(member.offset);
      }
    }
    const bool decides = shard.book.Decides(snapshot.change);
    shard.book.Follow(snapshot.policy, snapshot.change, read, error);
    if (!decides) return;
    for (const v1::StepLimit& limit : snapshot.change.limits()) {
      ShardModel::Member& member = shard.members[limit.worker_id()];
      if (member.incarnation != limit.incarnation()) continue;
      member.previous_offset = member.offset;
      member.offset = limit.offset();
      if (member.offset != member.previous_offset) ++rebased;
    }
  }

  // The first shard that hears of a life decides where it enters, for all: its coordinator would.
  std::uint64_t EntryOf(std::uint32_t w, std::uint64_t incarnation, std::uint64_t here) {
    const std::uint64_t entry = entries_.try_emplace({w, incarnation}, here).first->second;
    if (workers_[w].incarnation == incarnation && workers_[w].step < entry) workers_[w].step = entry;
    return entry;
  }

  GateAnswer Ask(const ShardModel& shard, std::uint32_t w, std::uint64_t step, const v1::Policy& policy) const {
    const ShardModel::Member& asker = shard.members.at(w);
    const bool before = shard.book.Before(w, asker.incarnation, step);
    ClockTable clocks;
    for (const auto& [other, member] : shard.members) {
      const auto listed = [&] {
        for (const v1::StepLimit& limit : shard.book.change().limits()) {
          if (limit.worker_id() == other && limit.incarnation() == member.incarnation) return true;
        }
        return false;
      };
      if (before && !listed()) continue;
      clocks.Install(other, member.clock + (before ? member.previous_offset : member.offset), true);
    }
    const std::uint64_t offset = before ? asker.previous_offset : asker.offset;
    return AskGate(clocks, policy.staleness_bound(), {w, step + offset, step + offset});
  }

  void Pull(std::uint32_t w, std::uint32_t s) {
    Worker& worker = workers_[w];
    ShardModel& shard = shards_[s];
    ShardModel::Member& member = shard.members[w];
    if (worker.pushing || worker.admitted.count(s) > 0 || member.incarnation != worker.incarnation) return;
    const v1::Policy* policy = shard.book.Of(w, worker.incarnation, worker.step);
    if (policy == nullptr || !Ask(shard, w, worker.step, *policy).admitted) return;
    member.pulled = std::max(member.pulled, worker.step + 1);
    const auto [it, first] = under_.try_emplace({w, worker.incarnation, worker.step}, policy->number());
    if (it->second != policy->number()) {
      wrong_ = absl::StrCat("step ", worker.step, " of worker ", w, " is under policy ", it->second, " and, on shard ",
                            s, ", under ", policy->number());
    }
    if (!first && shard.known + 1 < snapshots_.size()) ++mixed_snapshots;
    worker.admitted.insert(s);
    if (worker.admitted.size() < shards_.size()) return;
    worker.pushing.emplace();
    for (std::uint32_t each = 0; each < shards_.size(); ++each) worker.pushing->insert(each);
  }

  void Push(std::uint32_t w, std::uint32_t s) {
    Worker& worker = workers_[w];
    ShardModel::Member& member = shards_[s].members[w];
    if (!worker.pushing || worker.pushing->count(s) == 0 || member.incarnation != worker.incarnation) return;
    member.clock = worker.step + 1;
    worker.pushing->erase(s);
    if (!worker.pushing->empty()) return;
    worker.pushing.reset();
    worker.admitted.clear();
    ++worker.step;
  }

  v1::WatchRequest WordOf(const ShardModel& shard) const {
    v1::WatchRequest request;
    request.set_policy_number(shard.book.now().number());
    request.set_policy_busy(Busy(shard));
    if (shard.book.ack().id() != 0) *request.mutable_policy_ack() = shard.book.ack();
    return request;
  }

  void Act(bool faults) {
    const auto w = static_cast<std::uint32_t>(random_.Below(workers_.size()));
    const auto s = static_cast<std::uint32_t>(random_.Below(shards_.size()));
    ShardModel& shard = shards_[s];
    const double dice = random_.Unit();
    if (dice < 0.35) return Pull(w, s);
    if (dice < 0.6) return Push(w, s);
    if (dice < 0.72) {  // some later snapshot, not always the newest
      const std::size_t last = snapshots_.size() - 1;
      if (shard.known < last) Follow(shard, faults ? random_.Between(shard.known + 1, last) : last, false);
      return;
    }
    if (dice < 0.80) {
      words_.emplace_back(s, WordOf(shard));
      if (random_.Chance(0.1)) words_.push_back(words_.back());
      return;
    }
    if (dice < 0.94) return Hear();
    if (!faults) return;
    if (dice < 0.97) return Begin();
    if (dice < 0.975) {
      if (!course_->pending()) return;
      course_->GiveUp("somebody thought better of it");
      ++given_up;
      Publish();
    } else if (dice < 0.985) {
      Restart(shard);
    } else if (dice < 0.99) {
      v1::CoordinatorState state;
      course_->Save(&state);
      course_ = std::make_unique<PolicyCourse>(begin_, static_cast<std::uint32_t>(shards_.size()));
      if (!course_->Restore(state).ok()) wrong_ = "what was saved is not restored";
      Publish();
    } else if (!course_->pending()) {  // nobody joins while a change is pending
      Worker& worker = workers_[w];
      // Its former life's step is over, wherever it was.
      const std::uint64_t incarnation = worker.incarnation + 1;
      worker = Worker();
      worker.incarnation = incarnation;
      Publish();
    }
  }

  void Hear() {
    if (words_.empty()) return;
    const std::size_t which = random_.Below(std::min<std::size_t>(words_.size(), 3));  // some overtake others
    const auto [s, word] = words_[which];
    words_.erase(words_.begin() + static_cast<std::ptrdiff_t>(which));
    const std::uint64_t number = course_->policy().number();
    if (!course_->Report(s, word)) return;
    decided += course_->policy().number() > number ? 1 : 0;
    Publish();
  }

  void Begin() {
    if (course_->pending() || !course_->Busy().empty()) return;
    // Every shard has heard of every life: none is being installed.
    for (const ShardModel& shard : shards_) {
      for (std::uint32_t w = 0; w < workers_.size(); ++w) {
        if (shard.members.at(w).incarnation != workers_[w].incarnation) return;
      }
    }
    const std::int64_t bounds[] = {-1, 0, 1, 4};
    v1::Policy next = course_->policy();
    next.set_staleness_bound(bounds[random_.Below(4)]);
    course_->Begin(Instant{}, ++changes_, next);
    Publish();
  }

  // kill -9: what it has been told is in its journal, what it has let be read is not.
  void Restart(ShardModel& shard) {
    const std::size_t known = shard.known;
    const v1::PolicyChange& change = shard.book.change();
    const bool pending = change.id() != 0 && !change.decided();
    for (auto& [w, member] : shard.members) {
      member.pulled = 0;
      member.may_have_pulled = member.clock + 1;
    }
    if (!pending) return;
    shard.book = PolicyBook(shard.book.now());
    Follow(shard, known, true);
  }

  Random random_;
  std::vector<ShardModel> shards_;
  std::vector<Worker> workers_;
  const v1::Policy begin_;
  std::unique_ptr<PolicyCourse> course_;
  std::vector<Snapshot> snapshots_;
  std::deque<std::pair<std::uint32_t, v1::WatchRequest>> words_;
  std::uint64_t changes_ = 1;
  std::map<std::tuple<std::uint32_t, std::uint64_t, std::uint64_t>, std::uint64_t> under_;  // step -> policy
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> entries_;
  std::string wrong_;
};

TEST_CASE("Policy changes: all shards admit a step under one policy, whatever is late, repeated or killed") {
  std::uint64_t decided = 0, given_up = 0, rebased = 0, mixed = 0;
  const std::int64_t bounds[] = {-1, 0, 2};
  for (std::uint64_t i = 0; i < 300; ++i) {
    const std::uint64_t seed = TestSeed() + i;
    Model model(seed, bounds[i % 3]);
    const std::string wrong = model.Run();
    if (!wrong.empty()) FAIL("LEEWAY_TEST_SEED=" << seed << " (with bound " << bounds[i % 3] << "): " << wrong);
    decided += model.decided;
    given_up += model.given_up;
    rebased += model.rebased;
    mixed += model.mixed_snapshots;
  }
  CHECK(decided > 500);
  CHECK(given_up > 100);
  CHECK(rebased > 100);
  CHECK(mixed > 1000);  // steps that some shard admitted before it had heard of the newest snapshot
}

}  // namespace
}  // namespace leeway
