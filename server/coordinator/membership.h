// Membership: who belongs to the cluster. It alone decides, and numbers its decisions (epochs).
//
// Thread safety: none; a plain object, guarded by its owner. Time is a parameter.
// Invariants: a name has at most one member; a rank at most one trainer. The epoch grows with every change
// that a shard must know. Joiners become live together, when every shard has installed every one of them:
// so the workers of the start barrier enter at one clock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/coordinator.pb.h"
#include "proto/coordinator_state.pb.h"

namespace leeway {

class Membership {
 public:
  static constexpr std::size_t kMaxMembers = 4096;  // bounds what a hostile joiner can make us hold
  // Names that are known; ids are below it. Where each process has a name of its own they run out: then the one that
  // was heard of longest ago is forgotten for a new one, which has its id.
  static constexpr std::size_t kMostIds = 2 * kMaxMembers;

  struct Config {
    std::uint32_t num_shards = 1;
    std::uint32_t num_workers = 1;  // trainers that the start waits for
    bool fixed_ranks = false;       // exactly num_workers ranks (STATIC data, `round`)
    absl::Duration lease = absl::Seconds(10);
    std::uint32_t num_evaluators = 0;       // that the start waits for too
    std::size_t max_members = kMaxMembers;  // a simulation, which nobody strange joins, may have more
  };

  struct Joiner {
    std::string name;
    std::uint64_t incarnation = 0;
    v1::Role role = v1::TRAINER;
    std::int32_t rank = -1;  // -1: by sorted names
    std::uint32_t samples_per_step = 0;
    std::uint32_t pipeline_depth = 0;
  };
  struct JoinAnswer {
    bool accepted = false;        // live, or an observer
    std::uint32_t worker_id = 0;  // when accepted
    std::string waiting;          // when not: for whom or what
  };

  explicit Membership(const Config& config) : config_(config) {}

  // May be called again and again with the same joiner; each call renews its place.
  // FAILED_PRECONDITION: the incarnation has left or expired, or the rank is taken, or there is none left;
  // RESOURCE_EXHAUSTED: max_members, or twice as many names of which none may be forgotten.
  absl::StatusOr<JoinAnswer> Join(Instant now, const Joiner& joiner);

  // Shard `shard` has installed the joiner at `clock`.
  void Acknowledge(std::uint32_t shard, std::uint32_t worker, std::uint64_t incarnation, std::uint64_t clock);

  // True when there are joiners and all of them are installed on every shard.
  bool Installed() const;
  // Then makes them live. `round_entry` replaces the maximum of the acknowledged clocks in rounds. Returns
  // true when someone became live.
  bool Promote(std::optional<std::uint64_t> round_entry);

  // FAILED_PRECONDITION: not a member under this incarnation; names both.
  absl::Status Renew(Instant now, std::uint32_t worker, std::uint64_t incarnation);
  absl::Status Leave(std::uint32_t worker, std::uint64_t incarnation);

  // This name is not forgotten: what is known of it must not come to another. (Not saved.)
  void Keep(const std::string& name) { kept_.insert(name); }

  // A worker without data is out of the minimum; it re-enters like a joiner.
  void Park(std::uint32_t worker);
  void Unpark(std::uint32_t worker);

  struct Lost {
    std::uint32_t worker = 0;
    std::uint64_t incarnation = 0;
    std::string name;
    v1::Role role = v1::TRAINER;
    std::uint32_t rank = 0;
    absl::Duration overdue;
  };
  // Removes everyone whose lease has run out, and forgets who has stopped asking to join.
  std::vector<Lost> Expire(Instant now);
  // After a pause of this process nobody is to blame for a missing heartbeat: every lease starts anew.
  void RenewAll(Instant now);

  // For a restart: Restore gives a new object of the same configuration all that another one saved, but every lease and
  // wait begins at `now`. DATA_LOSS: no such object can have saved it; then this one must not be used.
  void Save(v1::MembershipState* state) const;
  absl::Status Restore(Instant now, const v1::MembershipState& state);

  std::uint64_t epoch() const { return epoch_; }
  bool started() const { return started_; }
  const std::map<std::uint32_t, v1::Member>& members() const { return members_; }
  const v1::Member* Find(std::uint32_t worker) const;
  // Since something was heard of this member; zero of anybody else.
  absl::Duration Silence(Instant now, std::uint32_t worker) const;
  std::optional<std::uint32_t> IdOf(const std::string& name) const;
  std::optional<std::string> NameOf(std::uint32_t worker) const;       // of all that are known
  std::optional<std::uint32_t> RankOf(const std::string& name) const;  // the last it had
  std::size_t trainers() const;                                        // live, parked and joining
  std::size_t observers() const;
  double MeanSamples() const;         // samples_per_step over live trainers; 0 without any
  std::string StartWaitsFor() const;  // "" once started

 private:
  struct Candidate {
    Joiner joiner;
    Instant seen;
  };
  void End(std::uint32_t worker);
  absl::Status CheckRank(const Joiner& joiner) const;
  absl::StatusOr<std::uint32_t> FreeRank(const Joiner& joiner) const;
  absl::Status Admit(Instant now, const Joiner& joiner);
  std::optional<std::string> NameToForget() const;
  void AdmitAll(Instant now);
  absl::Status RestoreMember(Instant now, const v1::Member& member);

  const Config config_;
  std::uint64_t epoch_ = 1;
  bool started_ = false;
  std::map<std::uint32_t, v1::Member> members_;
  std::map<std::uint32_t, std::uint32_t> holders_;  // rank -> the trainer that has it
  std::map<std::uint32_t, Instant> lease_end_;
  std::map<std::string, std::uint32_t> ids_;  // names admitted; 0 to size - 1; bounded by kMostIds
  // The last incarnation that ended, by id: a request of it that arrives late must not bring it back, or all would wait
  // for a worker that is no more. One is enough: an older one's requests have met their deadlines since.
  std::map<std::uint32_t, std::uint64_t> ended_;
  std::map<std::uint32_t, std::uint64_t> ended_at_;  // in which epoch it did
  std::set<std::string> kept_;
  std::map<std::string, std::uint32_t> ranks_;     // the rank a name had, for when it comes back
  std::map<std::string, Candidate> waiting_room_;  // before the start, and behind a lease
  std::map<std::uint32_t, std::map<std::uint32_t, std::uint64_t>> installed_;  // joiner -> shard -> clock
};

}  // namespace leeway
