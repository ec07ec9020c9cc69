// Simulation: who is a member. Everything happens at once between coordinator, shard and a process that joins.
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/study/simulation.h"

namespace leeway {
namespace {

Instant At(double seconds) { return Instant() + absl::Seconds(seconds); }

}  // namespace

bool Simulation::IsMember(const Push& push) const {
  const v1::Member* member = membership_.Find(push.rank);
  return member != nullptr && member->incarnation() == push.incarnation;
}

// A new process of this worker. Where its name still has a lease it waits: Expire lets it join.
void Simulation::Join(std::uint32_t rank) {
  Worker& worker = workers_[rank];
  if (worker.incarnation == 0) worker.incarnation = next_incarnation_++;
  Membership::Joiner joiner;
  joiner.name = absl::StrCat("worker-", rank);
  joiner.incarnation = worker.incarnation;
  joiner.rank = static_cast<std::int32_t>(rank);
  joiner.samples_per_step = 1;
  // Ids are given in the order of the first join: they are the ranks.
  if (!membership_.Join(At(now_), joiner).ok()) return;
  const v1::Member* member = membership_.Find(rank);
  if (member == nullptr || member->incarnation() != worker.incarnation) return;
  membership_.Acknowledge(0, rank, worker.incarnation, clocks_.Min());
  joining_.push_back(rank);
}

// Joiners that the shard has installed become live.
void Simulation::Promote() {
  if (joining_.empty()) return;
  const std::vector<std::uint32_t> joined = std::exchange(joining_, {});
  // The open round has its contributors, living or dead: who comes later takes part from the next one on.
  const std::uint64_t round_entry = rounds_.open_round() + (started_ ? 1 : 0);
  if (!membership_.Promote(Round() ? std::optional(round_entry) : std::nullopt)) return;
  for (const std::uint32_t rank : joined) {
    Worker& worker = workers_[rank];
    const std::uint64_t entry = membership_.Find(rank)->entry_clock();
    worker.pipeline.emplace(options_.depth, entry);
    worker.joined = worker.idle_since = now_;
    clocks_.Install(rank, entry, true);
    worker.clock = entry;
    ++clock_counts_[entry];
    if (Round()) (started_ ? joiners_ : expected_).insert(rank);
    // All the heartbeats that it may ever send; what it does not live to send, Die() takes back.
    membership_.Renew(At(kLongestSeconds), rank, worker.incarnation).IgnoreError();
    if (options_.life_seconds) {
      After(options_.life_seconds(rank, worker.lives), rank, worker.incarnation, [this, rank] { Die(rank); });
    }
    ++worker.lives;
  }
  started_ = true;
  CloseRound();  // it may be that nobody but them is left
  for (const std::uint32_t rank : joined) GoOn(rank);
}

void Simulation::Die(std::uint32_t rank) {
  Worker& worker = workers_[rank];
  const double heartbeat = options_.lease_seconds / 3;
  const double last_heard = worker.joined + std::floor((now_ - worker.joined) / heartbeat) * heartbeat;
  membership_.Renew(At(last_heard), rank, worker.incarnation).IgnoreError();
  result_.blocked_seconds += BlockedSoFar(worker);
  worker.computing = worker.watching = false;
  while (!worker.reads.empty()) Forget(rank, worker.reads.begin()->first);
  worker.incarnation = 0;
  ++result_.deaths;
  After(last_heard + 1.001 * options_.lease_seconds - now_, [this] { Expire(); });
  After(options_.away_seconds, [this, rank] {
    Join(rank);
    Promote();
  });
}

void Simulation::Expire() {
  for (const Membership::Lost& lost : membership_.Expire(At(now_))) {
    Worker& worker = workers_[lost.worker];
    clocks_.Remove(lost.worker);
    Discount(worker.clock);
    expected_.erase(lost.worker);
    joiners_.erase(lost.worker);
    for (const std::uint64_t serial : office_.Void(lost.worker, lost.incarnation)) watermark_.Settle(serial);
    if (options_.learner != nullptr) options_.learner->Leave(lost.worker);
    result_.lived_seconds += now_ - worker.joined;
    worker.pipeline.reset();
    if (worker.incarnation != 0) Join(lost.worker);
  }
  Promote();
  CloseRound();
  TryHeld();
}

}  // namespace leeway
