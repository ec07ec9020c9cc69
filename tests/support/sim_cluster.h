// SimCluster: real shards, a real coordinator and real links over a simulated network and files, workers that are
// scripted or made of a real one's parts,
// deaths, partitions, full disks, checkpoints and preemptions, all in one thread and in virtual time. A seed decides
// everything and reproduces the run exactly.
//
// The checkers look for what may never happen. With every answer that a server gives, before it travels:
//   - a pull lacks an update which the SSP read rule promises, or one of its asker's own pushes;
//   - a version falls; a request is not answered; a worker gets an answer that it should not;
//   - the coordinator says two things under one number, also after a restart: snapshots, members of an epoch, the
//     verdict of a ticket, the range of a data request, a round's close; or its numbers fall;
//   - a record is committed twice; a chunk is sent again with other bytes, or is told another verdict.
// With every start of a `ps`, and at the end: each life's acknowledged pushes are in the weights exactly once (`each`),
// or the weights are the replay of the closed rounds, bit for bit (`round`). At the end, with a real worker's parts:
// what a process's gradients were is in the weights or in the residual of its encoding. With every checkpoint that is
// committed: recovering each shard from it gives all that recovering without it gives; it has pushes whole, and its
// records are those whose pushes are in its weights. At the end: every record was committed, clocks never were further
// apart than the bound allows, nothing is held, nobody is in quarantine who should not be.
//
// Where something can be lost the run goes back to a checkpoint, and only then. All that is said above then holds for
// what the checkpoint has and what came after; what was wrong between the loss and the going back is healed by it, and
// must have been.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/checkpoint.pb.h"
#include "proto/policy.pb.h"
#include "server/era.h"
#include "server/waiter.h"
#include "tests/support/fake_clock.h"
#include "tests/support/push_book.h"
#include "tests/support/random.h"
#include "tests/support/sim_member.h"
#include "tests/support/sim_network.h"
#include "tests/support/sim_ps.h"
#include "tests/support/sim_recovery.h"
#include "tests/support/sim_trainer.h"
#include "tests/support/sim_worker.h"

namespace leeway {

class SimCluster {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::uint32_t shards = 2;
    std::uint32_t workers = 3;
    bool trainers = false;                // of a real worker's parts: SimTrainer, else SimWorker
    std::uint64_t elements = 4096 + 600;  // of the model: by default two blocks, so that a third shard has none
    std::uint32_t visitors = 0;  // more workers, which come while those train, and go for good: by SIGTERM or kill -9
    v1::Policy policy;           // its rate is 1, its optimizer SGD, num_workers = workers
    std::uint64_t num_records = 200;
    double null_chance = 0;
    SimNetwork::Faults faults;
    int deaths = 0;       // kill -9 of a worker, which comes back as a new incarnation
    int cuts = 0;         // of a worker's network, for longer than its lease
    int partitions = 0;   // between any two, one way or both, for a while
    int preemptions = 0;  // SIGTERM: it leaves, and comes back
    // Of a `ps`: kill -9 at any moment, or at any operation on its files; and a disk that is full for a while.
    int ps_deaths = 0;
    int full_disks = 0;
    // SetPolicy of the bound (of max_delay, or of delay_policy=dc, if there is one), while it trains.
    int policy_changes = 0;
    bool files = false;        // --checkpoint_dir; needed by the two above
    bool own_storage = false;  // --checkpoint_storage=own, of all but shard 0
    bool power_loss = false;   // a `ps` dies with its machine: fsync, and what was not synced is lost
    // What takes the run back: with power_loss, no fsync; no journals (needs checkpoint_steps); a journal that a `ps`
    // has lost, or that is damaged, when it dies; all end, and another number of `ps` goes on.
    bool unsynced = false;
    bool journal = true;
    int damages = 0;
    int reshards = 0;
    std::uint64_t checkpoint_steps = 0;  // with files; 0: none are taken
    std::size_t checkpoint_keep = 1;
    std::optional<std::uint64_t> sick_after;        // steps, after which all gradients of the first worker hold a NaN
    absl::Duration time_limit = absl::Minutes(30);  // virtual
  };

  explicit SimCluster(const Options& options);
  ~SimCluster();

  // Runs to the end, or, where something can be lost, until the run is stuck, as it was before there was a checkpoint.
  // What went wrong, or nothing.
  std::optional<std::string> Run();

  // What the run was like: the same for the same seed.
  std::uint64_t Fingerprint();
  std::uint64_t events() const { return events_; }
  std::uint64_t lives() const { return lives_.size() + processes_.size(); }
  std::uint64_t incarnations() const;                         // of SimTrainers
  std::uint64_t exact() const { return exact_; }              // SimTrainers whose gradients were all found again
  std::size_t most_members() const { return most_members_; }  // at one time
  std::uint64_t pulls_held();
  std::uint64_t applied() const { return applied_; }
  std::uint64_t resolved() const;  // pushes whose verdict was learned after their life's end
  std::uint64_t deltas() const;    // pulls that were answered with a difference
  std::uint64_t given_up() const;  // steps whose round had closed without them
  std::uint64_t corrected();       // pushes, by the shards that were there at the end
  std::uint64_t ps_restarts() const { return killed_.size(); }
  std::uint64_t coordinator_restarts() const { return coordinator_restarts_; }
  std::uint64_t checkpoints() const { return checkpoints_.size(); }
  std::uint64_t brought() const { return brought_; }  // pieces of checkpoints that shard 0 has taken
  bool without_last_checkpoint() const;               // it was given up, for want of a ps or of room
  std::uint64_t quarantined() const;                  // workers
  std::uint64_t eras() const { return era_.number; }
  bool stuck() const { return stuck_; }  // something was lost, and there was nothing to go back to
  std::uint64_t policy_changes() const { return snapshot_.policy().number() - options_.policy.number(); }

 private:
  // sim_script.cc
  void Script();
  void CutSome();
  void ChangePolicy();
  void AskForPolicy(const v1::SetPolicyRequest& request, int tries);
  void FillDisk(std::uint32_t index);
  // sim_cluster.cc
  void AddWorker(std::uint32_t index);
  std::unique_ptr<SimMember> NewWorker(std::uint32_t index);
  std::unique_ptr<SimMember> NewTrainer(std::uint32_t index);
  // What happens next. False: it is over, or went wrong.
  bool Step();
  std::string NoEnd();
  void LetOthersGoOn(OnceEvent& event, absl::Duration most);
  void BringBack(SimMember* worker);
  void Visit(SimMember* worker);
  std::unique_ptr<CrashFiles> NewFiles(std::uint64_t seed) const;
  absl::StatusOr<std::unique_ptr<RecoveredShard>> Recovered(std::uint32_t index, const std::string& ignored) const;
  void StartPs(std::uint32_t index, const std::optional<Era>& go_back = std::nullopt);
  // Nobody hears of it again. StartAgain: as another process, soon.
  void EndPs(std::uint32_t index, CrashFiles::Loss loss);
  void StartAgain(std::uint32_t index, absl::Duration mean, const std::optional<Era>& go_back);
  void KillPs(std::uint32_t index);
  bool Over() const;
  // Of shard `index`; of one that ended and died, what it has left.
  Shard& ShardOf(std::uint32_t index);

  // sim_going_back.cc
  bool lossy() const { return options_.unsynced || !options_.journal || options_.damages + options_.reshards > 0; }
  void GoBack(std::uint32_t index);
  void NoteEra(const Era& era);
  void CallBack();
  void DamageJournal(std::uint32_t index);
  void Reshard();
  bool Stuck() const;
  std::optional<std::uint64_t> EraOf(std::uint64_t incarnation) const;  // in which it was a member; nothing: in none
  bool OfThisEra(std::uint64_t incarnation) const { return EraOf(incarnation) == era_.number; }
  float Base(std::uint64_t element) const { return base_.empty() ? 0 : base_[element]; }
  struct SavedRun {
    v1::CheckpointIndex index;
    std::vector<float> weights;
  };
  absl::StatusOr<SavedRun> ReadCheckpoint(const std::string& name) const;
  void CheckWhole(const std::string& name, const SavedRun& saved);

  // sim_checkers.cc
  void OnArrival(const std::string& address, const std::string& method, const Buffer& request);
  void OnReply(const std::string& address, const std::string& method, const Buffer& request, const absl::Status& status,
               const Buffer& reply);
  void CheckPull(const SimLife& life, std::uint32_t shard, const v1::PullRequest& request, const v1::PullReply& reply,
                 const std::vector<float>& weights);
  struct Close {
    v1::RoundClose close;
    std::uint64_t era = 0;
  };
  void CheckEnd();
  void CheckShard(std::uint32_t index);
  void CheckEach(std::uint32_t shard, const std::vector<std::vector<float>>& blocks);
  void CheckRounds(std::uint32_t shard, const std::vector<std::vector<float>>& blocks);
  void CheckNamed(const Close& close);
  // sim_mass_checkers.cc: of SimTrainers
  void CheckRead(const TrainerProcess& process, std::uint64_t own_clock, const std::vector<float>& weights);
  void CheckSums(std::uint32_t shard, const std::vector<std::vector<float>>& blocks);
  void CheckResiduals();
  // sim_coordinator_checkers.cc
  void OnSnapshot(v1::WatchReply snapshot);
  void OnTicket(const v1::OpenPushRequest& request, const absl::Status& status, const Buffer& reply);
  void OnLease(const v1::AcquireDataRequest& request, const v1::AcquireDataReply& reply);
  void OnCommit(const v1::CommitDataRequest& request);
  void CheckCheckpoint(const std::string& name);
  void CheckData();
  void Complain(const std::string& what);

  Options options_;
  const Manifest manifest_;
  Placement placement_;
  Random random_;
  FakeClock clock_;
  SimNetwork network_;
  struct Others final : Waiter {
    explicit Others(SimCluster* the_cluster) : cluster(the_cluster) {}
    Instant Now() const override { return cluster->clock_.Now(); }
    void Wait(OnceEvent& event, absl::Duration most) override { cluster->LetOthersGoOn(event, most); }
    SimCluster* const cluster;
  } others_{this};
  std::vector<std::unique_ptr<CrashFiles>> files_;  // by shard: machines with one disk, or (own_storage) each its own
  std::vector<Instant> full_until_;
  std::vector<std::unique_ptr<SimPs>> ps_;        // null: it is down
  std::vector<std::unique_ptr<SimPs>> starting_;  // null: it is not, or serves already
  std::vector<std::unique_ptr<SimPs>> killed_;
  std::vector<std::unique_ptr<RecoveredShard>> gone_;  // of those that were not needed any more
  std::uint64_t coordinator_restarts_ = 0;
  SimWorker::Lives lives_;
  SimTrainer::Processes processes_;
  PushBook pushes_;
  std::vector<std::unique_ptr<SimMember>> workers_;
  const std::unique_ptr<Transport> person_;
  Random person_random_;  // of its own: without changes of the policy a seed's run is what it was
  const Instant limit_;
  bool late_ = false;
  std::optional<std::string> complaint_;
  // Something was lost since the run last went back; then what is wrong may be for that.
  bool lost_ = false;
  std::optional<std::string> suspicion_;
  bool stuck_ = false;
  int crashes_while_back_ = 0;                        // of processes that begin anew in another era
  Era era_;                                           // that the run is in, as far as anybody was told
  std::vector<float> base_;                           // the weights that it began with; empty: zeros
  std::map<std::uint64_t, std::uint64_t> member_in_;  // by incarnation: the era
  std::uint64_t events_ = 0;
  std::uint64_t applied_ = 0;
  std::uint64_t brought_ = 0;
  std::uint64_t exact_ = 0;
  std::uint64_t deepest_ = 0;  // pipeline
  std::size_t most_members_ = 0;
  // What the coordinator has told anyone.
  v1::WatchReply snapshot_;   // the newest
  std::int64_t loosest_ = 0;  // bound that there has been; -1: none
  // What the gate adds to the clocks of an incarnation since the newest change, if it has not entered again since.
  struct Offset {
    std::uint64_t change = 0;
    std::uint64_t entry = 0;
    std::uint64_t offset = 0;
  };
  std::map<std::uint64_t, Offset> offsets_;
  std::map<std::uint64_t, std::string> told_;     // by sequence
  std::map<std::uint64_t, std::string> members_;  // by membership epoch
  std::map<std::uint64_t, Close> closes_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> tickets_;  // by incarnation and clock: the decision
  std::map<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>> serials_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> ranges_;  // by incarnation and request
  std::set<std::pair<std::uint64_t, std::uint64_t>> commits_;  // by incarnation and clock: that were answered
  std::map<std::pair<std::uint64_t, std::uint64_t>, v1::CommitDataRequest> asked_;  // that were asked for
  std::set<std::pair<std::uint64_t, std::uint64_t>> committed_;                     // records, by epoch and position
  std::set<std::string> checkpoints_;                                               // that were committed
  std::map<std::string, std::uint64_t> version_;                                    // by address
};

}  // namespace leeway
