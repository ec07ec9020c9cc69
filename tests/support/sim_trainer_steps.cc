// SimTrainer: its steps, from the weights to the verdict on the push.
#include <limits>
#include <utility>

#include "tests/support/sim_trainer.h"

namespace leeway {
namespace {

bool NeedsTicket(const v1::Policy& policy) { return policy.max_delay() >= 0 || policy.delay_policy() != v1::APPLY; }
bool IsWhole(const v1::Policy& policy) { return policy.push_atomicity() == v1::WHOLE || policy.clip_norm() > 0; }

}  // namespace

void TrainerProcess::BeginStep() {
  Life& life = *life_;
  const StepPipeline::Compute compute = life.pipeline.BeginCompute();
  InFlightPull pull = std::move(life.pulls.at(compute.pull_id));
  life.pulls.erase(compute.pull_id);
  const v1::Policy policy = pull.result.policy;
  on_read_(*this, pull.own_clock, weights_[static_cast<std::size_t>(compute.weights_slot)]);
  SendPulls();
  life.source.StepBegins(clock_->Now());
  if (!life.acquiring && !life.parked && life.source.wanted() > 0 && life.source.missing() > 0) AskForData();

  InFlightPush& in_flight = life.pushes[compute.clock];
  in_flight.work = *std::exchange(life.work, std::nullopt);
  const bool empty = in_flight.work.batch.records.empty();
  Step step;
  step.compute = compute;
  step.ticket = NeedsTicket(policy) && !empty;
  step.hold = IsWhole(policy) || empty;
  step.null = !empty && random_->Chance(options_.null_chance);
  Push::Request request;
  request.clock = compute.clock;
  request.samples = static_cast<std::uint32_t>(in_flight.work.batch.records.size());
  request.reads = pull.result.reads;
  step.push = in_flight.push = std::make_shared<Push>(
      caller_, life.view, placement_, std::move(request), (step.ticket ? 1 : 0) + (step.hold ? 1 : 0), nullptr,
      gradients_[static_cast<std::size_t>(compute.gradient_slot)].data(), encoder_,
      [this, life = life_, clock = compute.clock](PushResult result) {
        if (!ended() && life_ == life) OnPush(clock, std::move(result));
      });
  step.open = [] {};
  if (step.ticket) step.open = TicketOpener(compute.clock, pull.result.ticket_watermark, step.push);
  if (empty) {
    step.push->NoMoreChunks();
    step.push->MakeNull(v1::APPLIED);
    life.step = std::move(step);
    return EndStep();
  }
  const bool may_close = policy.round_quorum() > 0 && policy.round_quorum() < policy.num_workers();
  if (policy.aggregation() == v1::ROUND && may_close) {
    step.watched = true;
    in_flight.watch =
        std::make_shared<RoundWatch>(caller_, life.view, life.rank % placement_.num_shards(), compute.clock,
                                     [this, weak = std::weak_ptr<Push>(step.push)](std::uint64_t open_round) {
                                       const std::shared_ptr<Push> push = weak.lock();
                                       if (push != nullptr && push->GiveUp(open_round)) Wake();
                                     });
    in_flight.watch->Start();
  }
  for (std::uint32_t shard = 0; shard < placement_.num_shards(); ++shard) {
    if (placement_.ShardBlocks(shard) == 0) continue;
    for (std::uint32_t chunk = 0; chunk < placement_.ShardChunks(shard); ++chunk) step.chunks.push_back({shard, chunk});
  }
  for (std::size_t i = step.chunks.size(); i > 1; --i) std::swap(step.chunks[i - 1], step.chunks[random_->Below(i)]);
  step.pause = options_.mean_step * random_->Exponential(1) / static_cast<double>(step.chunks.size());
  std::vector<float>& gradient = gradients_[static_cast<std::size_t>(compute.gradient_slot)];
  for (std::uint64_t block = 0; block < placement_.num_blocks(); ++block) {
    for (std::uint64_t i = 0; i < kOwn; ++i) {
      gradient[placement_.BlockBegin(block) + options_.number * kOwn + i] = static_cast<float>(random_->Between(1, 4));
    }
  }
  life.step = std::move(step);
  Later(life.step->pause, [this] { NextChunk(); });
}

void TrainerProcess::NextChunk() {
  Step& step = *life_->step;
  if (step.chunks.empty() || step.push->given_up()) return EndStep();
  const ChunkId id = step.chunks.back();
  step.chunks.pop_back();
  const ChunkRun run = placement_.Chunk(id.shard, id.chunk);
  std::vector<float>& gradient = gradients_[static_cast<std::size_t>(step.compute.gradient_slot)];
  const std::uint64_t own = options_.number * kOwn;
  // The engine finds a NaN in a whole gradient before any of it is ready, else the shard does.
  const bool ready = !(step.null && step.hold);
  const bool bad = step.null && !step.hold && step.chunks.empty();
  if (bad) gradient[placement_.BlockBegin(run.first_block) + own] = std::numeric_limits<float>::quiet_NaN();
  for (std::uint32_t i = 0; ready && !bad && i < run.num_blocks; ++i) {
    const std::uint64_t begin =
        placement_.BlockBegin(run.first_block + std::uint64_t{i} * placement_.num_shards()) + own;
    for (std::uint64_t j = begin; j < begin + kOwn; ++j) given_[j] += static_cast<double>(gradient[j]);
  }
  if (ready) {
    if (!step.hold) step.open();
    step.push->Ready(id);
  }
  Later(step.pause, [this] { NextChunk(); });
}

void TrainerProcess::EndStep() {
  Life& life = *life_;
  Step step = *std::exchange(life.step, std::nullopt);
  if (step.push->given_up()) ++given_up_;
  if (step.watched) step.push->NoMoreChunks();
  if (step.hold) {
    const bool refused = step.null;
    if (refused) {
      step.push->NoMoreChunks();
      step.push->MakeNull(v1::REFUSED, "it is not finite");
      if (step.ticket) step.push->Release();
    } else {
      step.open();
    }
    step.push->Release();
  }
  life.pipeline.EndCompute();
  Wake();
}

std::function<void()> TrainerProcess::TicketOpener(std::uint64_t clock, std::uint64_t read_serial,
                                                   const std::shared_ptr<Push>& push) {
  const auto decided = [this, push](const absl::Status& status, const v1::Ticket& ticket) {
    if (status.ok()) {
      push->SetTicket(ticket);
    } else if (absl::IsAborted(status)) {
      push->MakeNull(v1::REFUSED, std::string(status.message()));
    } else {
      if (!absl::IsFailedPrecondition(status)) Fail("OpenPush", status);
      push->Abandon();
    }
    push->Release();
  };
  return [coordinator = life_->coordinator, clock, read_serial, decided, asked = std::make_shared<bool>(false)] {
    if (!std::exchange(*asked, true)) coordinator->OpenPush(clock, read_serial, 1, decided);
  };
}

void TrainerProcess::OnPush(std::uint64_t clock, PushResult result) {
  Life& life = *life_;
  const auto it = life.pushes.find(clock);
  if (it == life.pushes.end()) return;
  InFlightPush in_flight = std::move(it->second);
  life.pushes.erase(it);
  if (in_flight.watch != nullptr) in_flight.watch->Stop();
  life.pipeline.PushEnded(clock, result.verdict, result.open_round);
  *life.settled = life.pipeline.settled();
  Wake();
  if (!result.status.ok()) {
    const bool known = absl::IsCancelled(result.status) || absl::IsFailedPrecondition(result.status);
    if (!known) Fail("Push", result.status);
    return;
  }
  if (result.held) life.held = in_flight.push;
  v1::CommitDataRequest commit =
      life.source.Settle(in_flight.work, clock, result.verdict == v1::APPLIED, result.partial);
  for (v1::Journaled& journaled : result.journaled) *commit.add_journaled() = std::move(journaled);
  life.commits.insert(clock);
  life.coordinator->CommitData(std::move(commit), [this, life = life_, clock](const absl::Status& status) {
    life->commits.erase(clock);
    if (!status.ok() && !absl::IsFailedPrecondition(status)) Fail("CommitData", status);
    Wake();
  });
}

void TrainerProcess::SettleHeld(v1::Verdict verdict) {
  const auto held = std::exchange(life_->held, std::nullopt);
  if (held && verdict == v1::DROPPED) (*held)->LeftOut();
}

}  // namespace leeway
