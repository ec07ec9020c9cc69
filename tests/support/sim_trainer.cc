#include "tests/support/sim_trainer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "worker/client/identity.h"
#include "worker/client/join.h"

namespace leeway {
namespace {

constexpr absl::Duration kAskAgain = absl::Milliseconds(200);
constexpr absl::Duration kParkedPause = absl::Milliseconds(100);
constexpr absl::Duration kShortBatchAfter = absl::Milliseconds(100);
constexpr absl::Duration kPreemptionGrace = absl::Seconds(10);
constexpr absl::Duration kLeaveAttempt = absl::Milliseconds(2500);
constexpr std::size_t kMaxCommits = 16;
constexpr std::uint64_t kMaxPastCommit = 32;

}  // namespace

TrainerProcess::TrainerProcess(const Options& options, const Manifest& manifest, std::uint32_t num_shards,
                               FakeClock* clock, Random* random, SimNetwork* network, OnRead on_read)
    : options_(options),
      manifest_(manifest),
      placement_(*Placement::Make(manifest.elements(), num_shards)),
      clock_(clock),
      random_(random),
      on_read_(std::move(on_read)),
      transport_(network->Connect(options.name)),
      executor_(clock, random),
      caller_(*transport_, *clock, executor_, options.coordinator, absl::Hours(10), random->Bits()),
      encoder_(std::make_shared<Push::Encoder>(placement_, options.push, executor_)),
      seen_(options.pull == v1::INT8 ? std::make_shared<SeenWeights>(placement_) : nullptr),
      weights_(static_cast<std::size_t>(options.depth) + 1, std::vector<float>(manifest.elements())),
      gradients_(weights_),
      given_(manifest.elements()) {
  Join();
}

TrainerProcess::~TrainerProcess() { Kill(); }

void TrainerProcess::Kill() {
  if (ended()) return;
  killed_ = true;
  caller_.Stop();
}

void TrainerProcess::Preempt() {
  preempted_ = true;
  Wake();
}

void TrainerProcess::Fail(const std::string& what, const absl::Status& status) {
  if (error_.empty() && !ended()) error_ = absl::StrCat(options_.name, ": ", what, ": ", status.ToString());
}

void TrainerProcess::Later(absl::Duration delay, std::function<void()> fn) {
  clock_->RunAt(clock_->Now() + delay, [this, life = life_, fn = std::move(fn)] {
    if (!ended() && life_ == life) fn();
  });
}

void TrainerProcess::Wake() {
  if (woken_ || ended()) return;
  woken_ = true;
  executor_.Post([this] {
    woken_ = false;
    if (!ended() && life_ != nullptr) GoOn();
  });
}

// --- Joining ---------------------------------------------------------------------------------------------

void TrainerProcess::Join() {
  v1::JoinRequest request = JoinRequestFor({.name = options_.name}, v1::TRAINER, manifest_, random_->Bits() | 1);
  request.mutable_data()->set_num_records(options_.num_records);
  request.set_samples_per_step(1);
  request.set_pipeline_depth(static_cast<std::uint32_t>(options_.depth));
  request.set_push_encoding(options_.push.encoding);
  request.set_pull_encoding(options_.pull);
  incarnations_.emplace_back(request.incarnation(), 0);
  const auto ask = std::make_shared<std::function<void()>>();
  *ask = [this, request, weak = std::weak_ptr(ask)] {
    caller_.Call<v1::JoinReply>(
        kCoordinator, "Coordinator/Join", request, {},
        [this, again = weak.lock()](const absl::Status& status, const Decoded<v1::JoinReply>& reply) {
          if (ended()) return;
          if (status.ok() && reply.message.has_not_yet()) return Later(kAskAgain, [again] { (*again)(); });
          OnJoin(status, reply.message);
        });
  };
  (*ask)();
}

void TrainerProcess::OnJoin(const absl::Status& status, const v1::JoinReply& reply) {
  if (IsOver(status)) return Join();
  if (IsQuarantined(status) || (status.ok() && reply.state() >= v1::FINISHING)) {
    quarantined_ = IsQuarantined(status);
    ended_ = finished_ = true;
    return;
  }
  if (!status.ok()) return Fail("Join", status);
  caller_.SetShardAddresses({reply.shard_addresses().begin(), reply.shard_addresses().end()});
  incarnations_.back().second = reply.rank();
  if (seen_ != nullptr) seen_->Forget();
  WorkSource::Options shares;
  shares.policy = reply.policy();
  shares.rank = reply.rank();
  shares.num_records = options_.num_records;
  shares.samples_per_step = 1;
  shares.data_cursor = reply.data_cursor();
  shares.rounds_per_epoch = reply.rounds_per_epoch();
  absl::StatusOr<WorkSource> source = WorkSource::Make(shares);
  if (!source.ok()) return Fail("work", source.status());
  const auto view = std::make_shared<ClusterView>(reply, incarnations_.back().first, [this] { Wake(); });
  const auto settled = std::make_shared<std::uint64_t>(reply.entry_clock());
  life_ = std::make_shared<Life>(view, settled, caller_, *std::move(source), options_.depth, reply.entry_clock());
  life_->rank = reply.rank();
  life_->coordinator->StartHeartbeat(absl::Milliseconds(reply.lease_millis()));
  Wake();
}

// --- Steps -----------------------------------------------------------------------------------------------

bool TrainerProcess::Ending() const {
  const Life& life = *life_;
  return preempted_ || life.view->drain() || life.view->state() >= v1::FINISHING ||
         life.source.finished(life.pipeline.clock());
}

void TrainerProcess::GoOn() {
  Life& life = *life_;
  if (life.draining || Broken() || Ending()) return Drain();
  SendPulls();
  const bool late = life.commits.size() >= kMaxCommits ||
                    (!life.commits.empty() && *life.commits.begin() + kMaxPastCommit <= life.pipeline.clock());
  if (life.pipeline.CanCompute() && !late && GetWork()) BeginStep();
}

void TrainerProcess::SendPulls() {
  Life& life = *life_;
  for (const std::uint64_t id : life.pipeline.TakeDropped()) {
    const auto it = life.pulls.find(id);
    if (it == life.pulls.end()) continue;
    it->second.pull->Abandon();
    life.pulls.erase(it);
  }
  while (const auto order = life.pipeline.NextPull()) {
    Pull::Request request;
    request.clock = order->clock;
    request.own_clock = order->own_clock;
    request.answered = *life.settled;
    request.attempt = order->id + 1;
    request.encoding = options_.pull;
    request.seen = seen_;
    InFlightPull& in_flight = life.pulls[order->id];
    in_flight.own_clock = order->own_clock;
    in_flight.pull = std::make_shared<Pull>(caller_, life.view, placement_, request,
                                            weights_[static_cast<std::size_t>(order->weights_slot)].data(),
                                            [this, life = life_, id = order->id](PullResult result) {
                                              const auto it = life->pulls.find(id);
                                              if (ended() || it == life->pulls.end()) return;
                                              Wake();
                                              if (!result.status.ok()) {
                                                if (!absl::IsFailedPrecondition(result.status))
                                                  Fail("Pull", result.status);
                                                return;
                                              }
                                              SettleHeld(result.last_push);
                                              it->second.result = std::move(result);
                                              life->pipeline.PullArrived(id);
                                            });
    in_flight.pull->Start();
  }
}

bool TrainerProcess::GetWork() {
  Life& life = *life_;
  const bool stale = life.work && !life.source.leased() && life.work_clock != life.pipeline.clock();
  if (stale) life.source.Return(*std::exchange(life.work, std::nullopt));
  if (life.work) return true;
  Work work;
  switch (life.source.Take(life.pipeline.clock(), life.no_more_data, &work)) {
    case WorkSource::Answer::kWork:
      life.work = std::move(work);
      life.work_clock = life.pipeline.clock();
      life.no_more_data = false;
      return true;
    case WorkSource::Answer::kFinished:
      Wake();
      return false;
    case WorkSource::Answer::kLater:  // a push that is refused
      return false;
    case WorkSource::Answer::kNeedsData:
      break;
  }
  // It may re-enter at another clock: with nothing in flight.
  if (life.parked && !life.pushes.empty()) return false;
  if (!life.acquiring) {
    life.parked ? Later(kParkedPause, [this] { AskForData(); }) : AskForData();
    life.acquiring = true;
    if (life.source.HasSome()) {
      Later(kShortBatchAfter, [this] {
        if (life_->acquiring) life_->no_more_data = true;
        Wake();
      });
    }
  }
  return false;
}

void TrainerProcess::AskForData() {
  Life& life = *life_;
  life.acquiring = true;
  v1::AcquireDataRequest request;
  request.set_records(std::max<std::uint64_t>(life.source.wanted(), 1));
  request.set_request(life.data_ranges + 1);
  const bool ahead = life.source.missing() == 0;
  request.set_ahead(ahead);
  life.coordinator->AcquireData(
      std::move(request), [this, life = life_, ahead](const absl::Status& status, const v1::AcquireDataReply& reply) {
        if (ended() || life_ != life) return;
        life->acquiring = false;
        Wake();
        if (!status.ok()) {
          if (!absl::IsFailedPrecondition(status)) Fail("AcquireData", status);
          return;
        }
        if (reply.reentered()) life->pipeline.Reenter(reply.entry_clock());
        *life->settled = life->pipeline.settled();
        if (reply.has_range()) {
          ++life->data_ranges;
          life->parked = life->no_more_data = false;
          if (const absl::Status added = life->source.Add(reply.range()); !added.ok()) Fail("data", added);
        } else if (!ahead || reply.parked()) {
          life->no_more_data = true;
          life->parked = reply.parked();
        }
      });
}

// --- The end of a life -----------------------------------------------------------------------------------

void TrainerProcess::Drain() {
  Life& life = *life_;
  if (life.step || life.leaving || (life.asking && life.held)) return;
  if (!life.draining) {
    for (auto& [id, pull] : life.pulls) pull.pull->Abandon();
    life.pulls.clear();
    if (preempted_) {
      Later(kPreemptionGrace, [this] {
        for (auto& [clock, push] : life_->pushes) push.push->Abandon();
      });
    }
  }
  life.draining = true;
  if (Broken() && !life.abandoned) {
    life.abandoned = true;
    for (auto& [clock, push] : life.pushes) push.push->Abandon();
  }
  if (!life.pushes.empty() || (!Broken() && !life.commits.empty())) return;
  if (!error_.empty()) return;
  if (life.held && !life.view->expired().ok()) {
    (*life.held)->AskOfRound([this](v1::Verdict verdict) {
      if (ended()) return;
      SettleHeld(verdict);
      Wake();
    });
    life.asking = true;
    return;
  }
  if (life.view->expired().ok()) return Leave();
  life.coordinator->Stop();
  life_ = nullptr;
  if (preempted_) {
    ended_ = true;
    caller_.Stop();
  } else {
    Join();
  }
}

void TrainerProcess::Leave() {
  Life& life = *life_;
  life.leaving = true;
  if (life.work) life.source.Return(*std::exchange(life.work, std::nullopt));
  v1::LeaveRequest request;
  request.set_reason(preempted_ ? "preempted" : "the run ends");
  request.set_finished(life.source.finished(life.pipeline.clock()));
  request.set_pushed(life.pipeline.settled());
  for (v1::DataRange& range : life.source.TakeRemaining()) *request.add_returned() = std::move(range);
  life.coordinator->Leave(std::move(request), kLeaveAttempt, [this](const absl::Status& status, const v1::LeaveReply&) {
    if (ended()) return;
    if (!status.ok() && !absl::IsFailedPrecondition(status)) return Fail("Leave", status);
    life_->coordinator->Stop();
    ended_ = true;
    finished_ = !preempted_;
    caller_.Stop();
  });
}

}  // namespace leeway
