// SimTrainer: a worker of the simulated cluster that is made of a real one's parts: Caller, Pull, Push with its error
// feedback, RoundWatch, CoordinatorClient, StepPipeline, WorkSource; put together as TrainingSession does, with events
// in place of its thread and made-up gradients in place of its engine. A process's gradients are small whole numbers at
// elements of its own in every block, 0 elsewhere: what its pushes have added to them can be counted.
//
// Thread safety: none. Ownership: what it is given outlives it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/manifest.h"
#include "common/placement.h"
#include "proto/coordinator.pb.h"
#include "tests/support/fake_clock.h"
#include "tests/support/random.h"
#include "tests/support/sim_member.h"
#include "tests/support/sim_network.h"
#include "worker/client/caller.h"
#include "worker/client/cluster_view.h"
#include "worker/client/coordinator_client.h"
#include "worker/client/encodings.h"
#include "worker/client/pull.h"
#include "worker/client/push.h"
#include "worker/client/round_watch.h"
#include "worker/client/seen_weights.h"
#include "worker/trainer/step_pipeline.h"
#include "worker/trainer/work_source.h"

namespace leeway {

// One process, from its start to its end; it stays for the checkers afterwards.
class TrainerProcess {
 public:
  static constexpr std::uint64_t kOwn = 3;  // elements of each block

  struct Options {
    std::string name;
    std::string coordinator;
    std::uint64_t number = 0;  // of all processes: its elements are [number * kOwn, (number + 1) * kOwn) of each block
    int depth = 0;
    PushEncoding push;
    v1::Encoding pull = v1::F32;
    std::uint64_t num_records = 100;
    absl::Duration mean_step = absl::Milliseconds(20);
    double null_chance = 0;  // of a gradient that holds a NaN
  };
  // Called with the weights of every step.
  using OnRead = std::function<void(const TrainerProcess&, std::uint64_t own_clock, const std::vector<float>& weights)>;

  TrainerProcess(const Options& options, const Manifest& manifest, std::uint32_t num_shards, FakeClock* clock,
                 Random* random, SimNetwork* network, OnRead on_read);
  ~TrainerProcess();

  void Kill();
  void Preempt();

  bool killed() const { return killed_; }
  bool ended() const { return killed_ || ended_; }
  bool joined() const { return life_ != nullptr; }
  bool finished() const { return finished_; }
  bool quarantined() const { return quarantined_; }
  bool preempted() const { return preempted_; }
  const std::string& error() const { return error_; }

  const Options& options() const { return options_; }
  const Placement& placement() const { return placement_; }
  // Its incarnations, with their ranks.
  const std::vector<std::pair<std::uint64_t, std::uint32_t>>& incarnations() const { return incarnations_; }
  // The sum of the gradients that its pushes were given.
  const std::vector<double>& given() const { return given_; }
  // What its encoding has kept of them; empty: it keeps nothing.
  const std::vector<float>& residual() const { return encoder_->feedback.residual(); }
  std::uint64_t given_up() const { return given_up_; }  // steps whose round had closed without them

 private:
  struct InFlightPull {
    std::shared_ptr<Pull> pull;
    std::uint64_t own_clock = 0;
    PullResult result;  // once it has arrived
  };
  struct InFlightPush {
    std::shared_ptr<Push> push;
    std::shared_ptr<RoundWatch> watch;
    Work work;
  };
  // The step that is computed.
  struct Step {
    StepPipeline::Compute compute;
    std::shared_ptr<Push> push;
    std::function<void()> open;   // asks for the ticket, the first time
    std::vector<ChunkId> chunks;  // that are not ready yet
    absl::Duration pause;         // before each
    bool hold = false;            // until it is whole
    bool ticket = false;
    bool watched = false;
    bool null = false;
  };
  struct Life {
    Life(std::shared_ptr<ClusterView> view, std::shared_ptr<std::uint64_t> settled, Caller& caller, WorkSource source,
         int depth, std::uint64_t entry)
        : view(view),
          settled(settled),
          coordinator(std::make_shared<CoordinatorClient>(caller, view, [settled] { return *settled; })),
          source(std::move(source)),
          pipeline(depth, entry) {}
    const std::shared_ptr<ClusterView> view;
    const std::shared_ptr<std::uint64_t> settled;  // the clock that heartbeats report
    const std::shared_ptr<CoordinatorClient> coordinator;
    WorkSource source;
    StepPipeline pipeline;
    std::uint32_t rank = 0;
    std::map<std::uint64_t, InFlightPull> pulls;
    std::map<std::uint64_t, InFlightPush> pushes;
    std::optional<Work> work;
    std::uint64_t work_clock = 0;
    std::optional<Step> step;
    std::optional<std::shared_ptr<Push>> held;  // for its round
    std::uint64_t data_ranges = 0;              // given
    std::set<std::uint64_t> commits;            // unanswered
    bool acquiring = false, parked = false, no_more_data = false;
    bool draining = false, abandoned = false, asking = false, leaving = false;
  };

  void Join();
  void OnJoin(const absl::Status& status, const v1::JoinReply& reply);
  // Something has changed: it goes on, a little later.
  void Wake();
  void Later(absl::Duration delay, std::function<void()> fn);
  void GoOn();
  bool Broken() const { return !error_.empty() || !life_->view->expired().ok(); }
  bool Ending() const;
  void SendPulls();
  bool GetWork();
  void AskForData();
  void BeginStep();
  void NextChunk();
  void EndStep();
  std::function<void()> TicketOpener(std::uint64_t clock, std::uint64_t read_serial, const std::shared_ptr<Push>& push);
  void OnPush(std::uint64_t clock, PushResult result);
  void SettleHeld(v1::Verdict verdict);
  void Drain();
  void Leave();
  void Fail(const std::string& what, const absl::Status& status);

  const Options options_;
  const Manifest manifest_;
  const Placement placement_;
  FakeClock* const clock_;
  Random* const random_;
  const OnRead on_read_;
  const std::unique_ptr<Transport> transport_;
  SimExecutor executor_;
  Caller caller_;
  const std::shared_ptr<Push::Encoder> encoder_;
  const std::shared_ptr<SeenWeights> seen_;  // null: it does not pull differences
  std::vector<std::vector<float>> weights_, gradients_;
  std::vector<double> given_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> incarnations_;
  std::shared_ptr<Life> life_;
  bool woken_ = false, killed_ = false, ended_ = false, finished_ = false, quarantined_ = false, preempted_ = false;
  std::uint64_t given_up_ = 0;
  std::string error_;
};

class SimTrainer final : public SimMember {
 public:
  // All processes that there have been.
  using Processes = std::vector<std::unique_ptr<TrainerProcess>>;
  // `start`: a new process of this name, which is kept among them.
  SimTrainer(std::string name, std::function<TrainerProcess*()> start)
      : name_(std::move(name)), start_(std::move(start)) {}

  void Start() override { process_ = start_(); }
  void Kill() override { process_->Kill(); }
  void Preempt() override { process_->Preempt(); }
  const std::string& name() const override { return name_; }
  bool preempted() const override { return process_ != nullptr && process_->preempted(); }
  bool running() const override { return process_ != nullptr && !process_->ended(); }
  bool joined() const override { return running() && process_->joined(); }
  bool finished() const override { return process_ != nullptr && process_->finished(); }
  bool quarantined() const override { return process_ != nullptr && process_->quarantined(); }
  const std::string& error() const override { return process_ != nullptr ? process_->error() : none_; }

 private:
  const std::string name_;
  const std::function<TrainerProcess*()> start_;
  const std::string none_;
  TrainerProcess* process_ = nullptr;  // the newest
};

}  // namespace leeway
