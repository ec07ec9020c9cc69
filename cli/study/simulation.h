// Simulate: how a cluster of workers with given step times would go, in virtual time: who waits for whom, how large
// gaps and delays become, what is refused, and what becomes of the others when a worker dies. What decides is the
// cluster's own code: each worker's StepPipeline orders its steps; ClockTable with the gate, or RoundCloser, admits its
// pulls; TicketOffice and TicketWatermark decide on late pushes; Membership knows who is alive. One shard. Without a
// Learner nothing is computed.
//
// Not modelled: bandwidth and contention (a message takes the same time whatever else is sent), the time of an update
// on the `ps`, and everything that the coordinator writes to its disk.
//
// Thread safety: a pure function of its options. No threads, no clock of its own: the same options give the same
// result.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "cli/study/counts.h"
#include "cli/study/learner.h"
#include "proto/policy.pb.h"
#include "server/clock_table.h"
#include "server/coordinator/membership.h"
#include "server/coordinator/round_closer.h"
#include "server/coordinator/ticket_office.h"
#include "server/ticket_watermark.h"
#include "worker/trainer/step_pipeline.h"

namespace leeway {

struct SimOptions {
  std::uint32_t workers = 4;
  // Of it: aggregation, staleness_bound, round_quorum, max_delay, delay_policy; as CheckPolicy demands it.
  v1::Policy policy;
  int depth = 0;                 // as --pipeline_depth
  std::uint64_t pushes = 10000;  // the end: as many are applied, or in closed rounds
  // How long step `step` of worker `rank` computes: finite, >= 0.
  std::function<double(std::uint32_t rank, std::uint64_t step)> step_seconds;
  // Each message takes this long: a push, its verdict (the update happens when the push arrives), a pull, its weights
  // (of the moment when the pull was admitted), the question for a ticket, the ticket, the question for a round's end,
  // the answer.
  double message_seconds = 0;

  // How long the process of worker `rank` lives after it has joined for the (life + 1)th time; empty: for ever. After
  // away_seconds a new one joins under its name, which may have to wait for the end of the old one's lease.
  std::function<double(std::uint32_t rank, std::uint64_t life)> life_seconds;
  double away_seconds = 0;
  double lease_seconds = 10;  // > 0; heartbeats come every third of it

  Learner* learner = nullptr;  // outlives the call; null: nothing is trained
};

struct SimResult {
  bool complete = false;      // false: so many pushes were refused, or workers died so often, that it was given up
  double seconds = 0;         // until the last update
  std::uint64_t pushes = 0;   // applied, or in closed rounds
  std::uint64_t refused = 0;  // by --max_delay
  std::uint64_t dropped = 0;  // too late for their round, or given up when that closed
  std::uint64_t lost = 0;     // of workers whose lease had run out
  std::uint64_t deaths = 0;
  double blocked_seconds = 0;  // of all workers: no step computes, its pull is not admitted
  double lived_seconds = 0;    // of all workers, as members
  // As the daemons count them: the gap once per admitted pull, the delay once per accepted push (0 in rounds).
  Counts gap;
  Counts delay;
  // Counted beside the gate, from the verdicts:
  std::uint64_t max_gap = 0;   // fastest minus slowest clock, ever
  std::uint64_t max_lead = 0;  // an admitted pull's clock minus the slowest clock, ever; 0 in rounds when all is well

  double PushesPerSecond() const { return seconds > 0 ? static_cast<double>(pushes) / seconds : 0; }
  double BlockedShare() const { return lived_seconds > 0 ? blocked_seconds / lived_seconds : 0; }
  double WastedShare() const;  // of the pushes, those that came to nothing
};

// A policy that never waits: the consistency that others are made from.
v1::Policy NeverWait();

class Simulation {
 public:
  // The options outlive it, and are valid: they come from a test or from checked flags.
  explicit Simulation(const SimOptions& options);
  SimResult Run();  // once

 private:
  // What was asked for, and what was known when it was answered.
  struct Read {
    StepPipeline::PullOrder order;
    double asked = 0;
    double admitted = 0;
    std::uint64_t version = 0;
    Learner::Weights weights;
    std::optional<std::uint64_t> held;  // while the gate holds it: its second key in held_
  };
  struct Worker {
    std::optional<StepPipeline> pipeline;
    std::uint64_t incarnation = 0;  // of its process; 0: it has none
    std::uint64_t lives = 0;        // how often it has joined
    double joined = 0;
    double idle_since = 0;
    bool computing = false;
    std::uint64_t step = 0;               // that it computes, or has computed last
    bool watching = false;                // the shard holds its question for the end of that step's round
    std::uint64_t clock = 0;              // its verdicts, as its entry in clocks_ should have it
    std::map<std::uint64_t, Read> reads;  // by pull id
  };
  struct Push {
    std::uint32_t rank = 0;
    std::uint64_t incarnation = 0;
    std::uint64_t clock = 0;
    std::uint64_t version = 0;
    std::uint32_t samples = 1;
    v1::Ticket ticket;
    bool refused = false;
  };
  struct Event {
    double time = 0;
    std::uint64_t sequence = 0;  // what was planned first happens first
    std::function<void()> happen;
    bool operator>(const Event& other) const {
      return std::pair(time, sequence) > std::pair(other.time, other.sequence);
    }
  };

  // Beyond it a double does not tell moments of a lease apart.
  static constexpr double kLongestSeconds = 1e9;

  bool Round() const { return options_.policy.aggregation() == v1::ROUND; }
  // As workers do: they ask for the end of a round that may close without them.
  bool WatchesRounds() const {
    return Round() && options_.policy.round_quorum() > 0 && options_.policy.round_quorum() < options_.workers;
  }
  bool IsMember(const Push& push) const;
  void After(double seconds, std::function<void()> happen);
  // Only if that process is still there.
  void After(double seconds, std::uint32_t rank, std::uint64_t incarnation, std::function<void()> happen);

  void Join(std::uint32_t rank);
  void Promote();
  void Die(std::uint32_t rank);
  void Expire();

  void GoOn(std::uint32_t rank);
  void Ask(std::uint32_t rank);
  void Forget(std::uint32_t rank, std::uint64_t pull);
  void PullArrives(std::uint32_t rank, std::uint64_t pull);
  bool Admits(std::uint32_t rank, std::uint64_t clock, std::uint64_t own_clock) const;
  void Admit(std::uint32_t rank, std::uint64_t pull);
  double BlockedSoFar(const Worker& worker) const;  // by what the gate still holds
  void TryHeld();
  void Compute(std::uint32_t rank);
  void EndCompute(std::uint32_t rank);
  void AnswerWatch(std::uint32_t rank);
  void GiveUp(std::uint32_t rank, std::uint64_t open_round);
  void Send(Push push);
  void PushArrives(const Push& push);
  void Take(const Push& push);
  void TakeForRound(const Push& push);
  void CloseRound();
  void Discount(std::uint64_t clock);
  void SetClock(std::uint32_t rank, std::uint64_t clock);
  void NoteGap();

  const SimOptions& options_;
  const bool tickets_needed_;
  std::vector<Worker> workers_;

  Membership membership_;
  ClockTable clocks_;
  RoundCloser rounds_;
  std::vector<std::uint32_t> joining_;
  std::set<std::uint32_t> expected_;  // in the open round
  std::set<std::uint32_t> joiners_;   // take part from the next one on
  TicketOffice office_;
  TicketWatermark watermark_;
  // Pulls that the gate holds: rank and pull, by clock and order of arrival.
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::pair<std::uint32_t, std::uint64_t>> held_;

  std::vector<Event> events_;  // a heap
  std::uint64_t next_sequence_ = 0;
  std::uint64_t next_incarnation_ = 1;
  bool started_ = false;
  double now_ = 0;
  std::uint64_t version_ = 0;
  std::map<std::uint64_t, std::uint32_t> clock_counts_;  // of the members' clocks
  SimResult result_;
};

inline SimResult Simulate(const SimOptions& options) { return Simulation(options).Run(); }

}  // namespace leeway
