// TrainingSession: one incarnation of a worker that trains, from its join to its leaving or its expiry.
//
// The training thread owns everything here. What happens elsewhere (replies, heartbeats, signals) comes to it
// through its mailbox, between steps and while it waits; only chunks leave, and replies arrive, beside it.
//
// Thread safety: Run from one thread, once.
// Ownership: what Worker names outlives the session; calls that outlive it hold only what they own together.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/log_every.h"
#include "common/placement.h"
#include "proto/coordinator.pb.h"
#include "worker/client/caller.h"
#include "worker/client/cancellation.h"
#include "worker/client/chunk_tracker.h"
#include "worker/client/cluster_view.h"
#include "worker/client/coordinator_client.h"
#include "worker/client/pull.h"
#include "worker/client/push.h"
#include "worker/client/round_watch.h"
#include "worker/client/seen_weights.h"
#include "worker/data/dataset.h"
#include "worker/trainer/device_encoder.h"
#include "worker/trainer/engine.h"
#include "worker/trainer/ledger.h"
#include "worker/trainer/mailbox.h"
#include "worker/trainer/pacer.h"
#include "worker/trainer/step_pipeline.h"
#include "worker/trainer/wait_log.h"
#include "worker/trainer/work_source.h"
#include "worker/trainer/worker_metrics.h"

namespace leeway {

class TrainingSession {
 public:
  // What all incarnations of a worker share.
  struct Worker {
    Caller& caller;
    Engine& engine;
    const Dataset& data;
    Cancellation& cancellation;  // preemption: finish or drop the step, leave
    Pacer::Options pace;         // the seed is the session's
    int depth = 1;
    std::uint64_t max_steps = 0;                             // 0: no limit of its own
    std::uint64_t* steps_done = nullptr;                     // over all incarnations
    std::shared_ptr<const std::vector<float>> init_weights;  // for put_weights; null: there are none
    std::string device;
    v1::Encoding pull_encoding = v1::F32;
    std::shared_ptr<Push::Encoder> encoder;         // null: not on the host
    std::shared_ptr<DeviceEncoder> device_encoder;  // null: not on the device; with neither, as the engine has them
    std::shared_ptr<SeenWeights> seen;              // of deltas; null: none
    WorkerMetrics* metrics = nullptr;               // null: none
  };

  enum class End {
    kFinished,   // the run ends, or this worker's part of it
    kPreempted,  // by the cancellation
    kExpired,    // its lease ran out: join again
  };

  TrainingSession(Worker& worker, const v1::JoinReply& join, std::uint64_t incarnation, const Placement& placement,
                  WorkSource source);
  ~TrainingSession();

  // Trains, then leaves. A RunFailure; UNAVAILABLE: the cluster was lost; else the cluster's or the device's error.
  absl::StatusOr<End> Run();

 private:
  struct InFlightPull {
    std::shared_ptr<Pull> pull;
    PullResult result;  // once it has arrived
  };
  struct InFlightPush {
    std::shared_ptr<Push> push;
    std::shared_ptr<RoundWatch> watch;  // null: its round does not close without it
    Work work;
  };

  bool HasEnough() const;  // it has made its --max_steps
  // The end was asked for; steps under way are still completed.
  bool Ending() const;
  // Nothing more can be completed under this incarnation.
  bool Broken() const { return !failure_.ok() || !view_->expired().ok(); }
  void Fail(const absl::Status& status);
  // Runs what comes in until `done`, the end, a failure or `limit`; says every 10 s what it has waited for since
  // `from`, and reports.
  void WaitFor(v1::WaitKind kind, Instant from, const std::function<bool()>& done,
               absl::Duration limit = absl::InfiniteDuration());

  absl::Status UploadInitialWeights();
  void Train();
  void SendPulls();
  void OnPull(std::uint64_t id, PullResult result);
  bool WaitForBuffers();
  bool TooManyCommits() const;  // that are unanswered
  bool GetWork();
  void AskForData();
  void OnData(bool ahead, absl::Status status, const v1::AcquireDataReply& reply);
  void DoStep();
  // The engine's gradient in a slot, where it comes encoded already.
  std::optional<Push::Encoded> EncodedGradient(int slot) const;
  std::shared_ptr<Push> NewPush(const StepPipeline::Compute& step, const PullResult& read, int holds);
  // With a quorum: what gives the push up when its round closes before all of it has left. Else null.
  std::shared_ptr<RoundWatch> WatchRound(const v1::Policy& policy, std::uint64_t clock,
                                         const std::shared_ptr<Push>& push);
  // What asks for the push's ticket when it is called first, on any thread: when the push opens (its first chunk is
  // ready, or nothing holds it any more), so that its delay counts what was applied while this worker computed.
  std::function<void()> TicketOpener(const StepPipeline::Compute& step, std::uint64_t read_serial,
                                     const std::shared_ptr<Push>& push);
  void Pace(std::uint64_t clock, absl::Duration computed, const Push& push);
  void OnPush(std::uint64_t clock, PushResult result);
  // The push that is held for its round, if one is, came to `verdict`.
  void SettleHeld(v1::Verdict verdict);
  // Waits to hear that from a shard: no pull of this incarnation will tell.
  v1::Verdict AskOfHeldPush();
  void Commit(v1::CommitDataRequest commit);
  // training_session_waits.cc: what the training thread did in [from, to) instead of computing.
  void WaitedForPull(Instant from, Instant to, const PullResult& pull);
  void WaitedForPush(Instant from, Instant to);
  void WaitedForData(Instant from, Instant to);
  // Who keeps the training thread waiting, since `from`.
  std::vector<v1::WaitUnderWay> WaitsUnderWay(v1::WaitKind kind, Instant from) const;
  // What heartbeats and /statusz say of that from now on; {}: nothing.
  void TellWaits(std::vector<v1::WaitUnderWay> waits);
  // Why a wait for this shard's answer, since `from`, may have lasted: else `kind`.
  v1::WaitKind KindOfWait(std::uint32_t shard, Instant from, v1::WaitKind kind) const;
  v1::Progress Totals() const;
  void Report(bool now);
  void Drain();
  absl::Status Leave(const std::string& reason, bool finished);

  Worker& worker_;
  const Placement placement_;
  const std::shared_ptr<Mailbox> mailbox_;
  const Cancellation::Listener wakes_mailbox_;
  const std::shared_ptr<ClusterView> view_;
  const std::shared_ptr<std::atomic<std::uint64_t>> settled_;  // the clock that heartbeats report
  const std::shared_ptr<CoordinatorClient> coordinator_;
  const std::shared_ptr<ChunkTracker> tracker_;  // the sender thread's
  const absl::Duration lease_;
  const std::uint32_t rank_;
  const bool put_weights_;

  StepPipeline pipeline_;
  WorkSource source_;
  Pacer pacer_;
  Ledger ledger_;
  WaitLog waits_;
  // The newest end of a push: what a wait for one was for.
  struct EndedPush {
    std::uint64_t clock = 0;
    std::optional<std::uint32_t> shard;
    absl::Duration journal;
    Instant at;
  };
  EndedPush ended_push_;
  std::map<std::uint64_t, InFlightPull> pulls_;
  std::map<std::uint64_t, InFlightPush> pushes_;  // by clock
  // Held for its round: whether that closes with it, the next step's weights tell.
  struct HeldPush {
    std::shared_ptr<Push> push;
    PushResult result;
  };
  std::optional<HeldPush> held_push_;
  std::optional<Work> work_;      // of the next step
  std::uint64_t work_clock_ = 0;  // the clock it was taken for
  bool acquiring_ = false;
  std::uint64_t data_ranges_ = 0;    // given
  bool no_more_data_ = false;        // the coordinator had none when last asked
  bool parked_ = false;              // and none has come since
  bool none_ahead_ = false;          // nor is it asked again before there is need
  std::set<std::uint64_t> commits_;  // steps whose commits are unanswered
  // The first push that was given up before it was answered.
  std::uint64_t first_abandoned_ = std::numeric_limits<std::uint64_t>::max();
  bool told_waits_ = false;
  std::uint64_t reports_ = 0;          // sent
  std::uint64_t answered_report_ = 0;  // the newest of them
  Instant last_report_;
  LogEvery say_waiting_;
  LogEvery say_refused_;
  absl::Status failure_;
};

}  // namespace leeway
