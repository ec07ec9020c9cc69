#include "tests/support/sim_worker.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/delay_allowed.h"
#include "tests/support/encode_run.h"

namespace leeway {

SimWorker::SimWorker(const Options& options, const Manifest& manifest, FakeClock* clock, Random* random,
                     SimNetwork* network, Lives* lives, OnPull on_pull)
    : options_(options),
      manifest_(manifest),
      clock_(clock),
      random_(random),
      lives_(lives),
      on_pull_(std::move(on_pull)),
      transport_(network->Connect(options.name)) {}

void SimWorker::Later(absl::Duration delay, std::function<void()> fn) {
  clock_->RunAt(clock_->Now() + delay, [this, life = life_, fn = std::move(fn)] {
    if (life_ == life) fn();  // else it belongs to a life that is over
  });
}

template <typename Reply>
void SimWorker::Ask(const std::string& address, const std::string& method, const google::protobuf::Message& request,
                    const Buffer& payload, Handler<Reply> handle, OnError on_error) {
  const Buffer bytes = EncodeMessage(request, payload);
  auto attempt = std::make_shared<std::function<void()>>();
  const std::weak_ptr<std::function<void()>> weak = attempt;
  *attempt = [this, life = life_, address, method, bytes, handle, on_error, weak] {
    transport_->Call(address, method, bytes, kTimeout,
                     [this, life, method, handle, on_error, again = weak.lock()](absl::Status status, Buffer reply) {
                       if (life_ != life) return;
                       if (IsRetryable(status)) {
                         return Later(std::max(kAgain, RetryAfter(status)), [again] { (*again)(); });
                       }
                       if (!status.ok() && on_error) return on_error(status);
                       if (absl::IsFailedPrecondition(status)) return Rejoin();
                       Decoded<Reply> decoded;
                       if (status.ok()) status = DecodeMessage(reply, &decoded.message, &decoded.payload);
                       if (!status.ok()) return Fail(method, status);
                       handle(decoded.message, decoded.payload);
                     });
  };
  (*attempt)();
}

void SimWorker::Fail(const std::string& what, const absl::Status& status) {
  error_ = absl::StrCat(options_.name, ": ", what, ": ", status.ToString());
}

void SimWorker::Start() {
  lives_->push_back(std::make_unique<SimLife>());
  life_ = lives_->back().get();
  life_->name = options_.name;
  life_->slot = static_cast<std::uint32_t>(lives_->size() - 1);
  life_->incarnation = random_->Bits() | 1;
  preempted_ = finished_ = false;
  error_.clear();
  epoch_ = 0;
  open_round_ = 0;
  acquire_number_ = 0;
  range_.reset();
  copies_.clear();
  journaled_.clear();
  unsent_.clear();
  Join();
}

void SimWorker::Kill() {
  if (life_ == nullptr) return;
  life_->over = true;
  for (const auto& [shard, bytes] : sent_) {
    if (life_->pushes[step_].verdicts.count(shard) == 0) Resolve(life_, step_, shard, bytes);
  }
  sent_.clear();
  life_ = nullptr;
}

void SimWorker::Rejoin() {
  Kill();
  Start();
}

v1::Stamp SimWorker::StampNow() const {
  v1::Stamp stamp;
  stamp.set_worker_id(life_->worker_id);
  stamp.set_incarnation(life_->incarnation);
  stamp.set_membership_epoch(epoch_);
  stamp.set_policy_number(policy_.number());
  stamp.set_run_id(run_id_);
  return stamp;
}

void SimWorker::Join() {
  v1::JoinRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_name(options_.name);
  request.set_incarnation(life_->incarnation);
  *request.mutable_manifest() = manifest_.ToProto();
  request.set_model_fingerprint(manifest_.fingerprint());
  request.mutable_data()->set_num_records(options_.num_records);
  request.set_rank(-1);
  request.set_samples_per_step(options_.samples);
  Ask<v1::JoinReply>(
      options_.coordinator, "Coordinator/Join", request, {},
      [this](const v1::JoinReply& reply, auto&) {
        if (reply.has_not_yet()) return Later(kAgain, [this] { Join(); });
        if (reply.run_id() == 0) {  // too late
          finished_ = true;
          return Kill();
        }
        OnJoin(reply);
      },
      [this](const absl::Status& status) {
        // It was cut off while it joined, for longer than its lease.
        if (absl::IsFailedPrecondition(status) && absl::StrContains(status.message(), "join again")) return Rejoin();
        if (absl::IsFailedPrecondition(status) && absl::StrContains(status.message(), "' is quarantined: ")) {
          quarantined_ = finished_ = true;
          return Kill();
        }
        Fail("Join", status);
      });
}

void SimWorker::OnJoin(const v1::JoinReply& reply) {
  life_->joined = true;
  life_->worker_id = reply.worker_id();
  life_->rank = reply.rank();
  life_->entry = step_ = reply.entry_clock();
  policy_ = reply.policy();
  run_id_ = reply.run_id();
  epoch_ = reply.membership_epoch();
  lease_ = absl::Milliseconds(reply.lease_millis());
  shards_.assign(reply.shard_addresses().begin(), reply.shard_addresses().end());
  placement_ = *Placement::Make(manifest_.elements(), reply.num_shards());
  Heartbeat();
  NextStep();
}

void SimWorker::Heartbeat() {
  v1::HeartbeatRequest request;
  *request.mutable_stamp() = StampNow();
  CallRpc<v1::HeartbeatReply>(*transport_, options_.coordinator, "Coordinator/Heartbeat", request, {}, lease_ / 3,
                              [this, life = life_](const absl::Status& status, const auto&) {
                                if (life_ == life && absl::IsFailedPrecondition(status)) Rejoin();
                              });
  Later(lease_ / 3, [this] { Heartbeat(); });
}

void SimWorker::NextStep() {
  if (preempted_) return Leave();
  if (policy_.data_sharing() == v1::LEASED && !range_) return Acquire();
  Pull();
}

void SimWorker::Acquire() {
  v1::AcquireDataRequest request;
  *request.mutable_stamp() = StampNow();
  request.set_records(options_.samples * (1 + random_->Below(4)));
  request.set_request(acquire_number_ + 1);
  Ask<v1::AcquireDataReply>(options_.coordinator, "Coordinator/AcquireData", request, {},
                            [this](const v1::AcquireDataReply& reply, auto&) {
                              epoch_ = std::max(epoch_, reply.membership_epoch());
                              if (reply.has_range()) {
                                ++acquire_number_;
                                range_ = reply.range();
                                if (reply.reentered()) life_->entry = step_ = std::max(step_, reply.entry_clock());
                                return Pull();
                              }
                              if (reply.state() >= v1::FINISHING) {
                                finished_ = true;
                                return Leave();
                              }
                              if (preempted_) return Leave();
                              Later(kAgain, [this] { Acquire(); });
                            });
}

void SimWorker::Pull() {
  waiting_for_ = placement_->num_shards();
  read_serial_ = ~std::uint64_t{0};
  step_policy_.reset();
  for (std::uint32_t shard = 0; shard < placement_->num_shards(); ++shard) PullFrom(shard);
}

void SimWorker::PullFrom(std::uint32_t shard) {
  const ChunkRun run = placement_->Chunk(shard, 0);
  if (run.num_blocks == 0) {
    if (--waiting_for_ == 0) OnPulled();
    return;
  }
  v1::PullRequest request;
  *request.mutable_stamp() = StampNow();
  request.set_clock(step_);
  request.set_own_clock(step_);
  request.mutable_run()->set_first_block(run.first_block);
  request.mutable_run()->set_num_blocks(run.num_blocks);
  request.set_wait_millis(static_cast<std::uint32_t>(random_->Below(2000)));
  request.set_attempt(++pulls_);
  const v1::Encoding encodings[] = {v1::F32, v1::BF16, v1::INT8};  // (bf16 counts to 256)
  if (step_ <= 256) request.set_encoding(encodings[random_->Below(options_.differences ? 3 : 2)]);
  request.set_base(copies_[shard].sequence);
  Ask<v1::PullReply>(shards_[shard], "ParameterServer/Pull", request, {},
                     [this, shard, request](const v1::PullReply& reply, const Buffer& payload) {
                       if (finished_) return;
                       if (reply.finishing()) {
                         finished_ = true;
                         return Leave();
                       }
                       if (reply.has_not_yet()) return Later(absl::Milliseconds(1), [this, shard] { PullFrom(shard); });
                       if (!TakePolicy(shard, request, reply) || !TakeWeights(shard, reply, payload)) return;
                       on_pull_(*life_, shard, request, reply, copies_[shard].weights);
                       read_version_[shard] = reply.version();
                       read_serial_ = std::min(read_serial_, reply.ticket_watermark());
                       if (--waiting_for_ == 0) OnPulled();
                     });
}

bool SimWorker::TakePolicy(std::uint32_t shard, const v1::PullRequest& request, const v1::PullReply& reply) {
  // A round that has closed without this worker: whatever it pushes for it is dropped.
  if (policy_.aggregation() == v1::ROUND && reply.open_round() > request.clock()) return true;
  // Without one in the answer it is the one that the request has named.
  const bool named = request.stamp().policy_number() == policy_.number();
  if (!reply.has_policy() && !named && (!step_policy_ || step_policy_->number() != request.stamp().policy_number())) {
    Fail("Pull", absl::InternalError(absl::StrCat("step ", step_, " is under policy ", request.stamp().policy_number(),
                                                  " on shard ", shard, ", and another shard has said more")));
    return false;
  }
  const v1::Policy policy = reply.has_policy() ? reply.policy() : named ? policy_ : *step_policy_;
  if (step_policy_ && step_policy_->number() != policy.number()) {
    Fail("Pull", absl::InternalError(absl::StrCat("step ", step_, " is under policy ", policy.number(), " on shard ",
                                                  shard, ", and under ", step_policy_->number(), " on another")));
    return false;
  }
  step_policy_ = policy;
  if (policy.number() > policy_.number()) policy_ = policy;
  return true;
}

bool SimWorker::TakeWeights(std::uint32_t shard, const v1::PullReply& reply, const Buffer& payload) {
  const ChunkRun run = placement_->Chunk(shard, 0);
  absl::StatusOr<std::vector<float>> values = DecodeRun(*placement_, run, reply.encoding(), payload);
  if (!values.ok()) {
    Fail("Pull", values.status());
    return false;
  }
  Copy& copy = copies_[shard];
  copy.sequence = reply.sequence();
  if (!reply.delta()) {
    copy.weights = *std::move(values);
    return true;
  }
  ++life_->deltas;
  for (std::size_t i = 0; i < values->size(); ++i) copy.weights[i] += (*values)[i];
  return true;
}

void SimWorker::OnPulled() {
  for (std::uint32_t shard = 0; shard < placement_->num_shards(); ++shard) unsent_.insert(shard);
  if (MayMissRound()) WatchRound();
  Later(options_.mean_step * random_->Exponential(1), [this, step = step_] {
    if (step_ == step) OpenPush();  // else it was given up
  });
}

void SimWorker::OpenPush() {
  // A worker may see by itself that its gradient is not finite, or leave that to the shards.
  const bool null = sick() ? random_->Chance(0.3) : random_->Chance(options_.null_chance);
  const v1::Policy& policy = step_policy_ ? *step_policy_ : policy_;  // (a shard without blocks is not read from)
  if (policy.max_delay() < 0 && policy.delay_policy() == v1::APPLY) return Push({}, null);
  v1::OpenPushRequest request;
  *request.mutable_stamp() = StampNow();
  request.set_clock(step_);
  request.set_read_serial(read_serial_);
  request.set_samples(options_.samples);
  Ask<v1::Ticket>(
      options_.coordinator, "Coordinator/OpenPush", request, {},
      [this, null, policy](const v1::Ticket& ticket, auto&) {
        DelayAllowed(policy, ticket) ? Push(ticket, null) : Fail("delay", absl::InternalError(ticket.DebugString()));
      },
      [this](const absl::Status& status) {
        if (absl::IsAborted(status)) return Push({}, true);
        absl::IsFailedPrecondition(status) ? Rejoin() : Fail("OpenPush", status);
      });
}

void SimWorker::Push(const v1::Ticket& ticket, bool null) {
  life_->pushes[step_].null = null || sick();
  waiting_for_ = placement_->num_shards();
  for (std::uint32_t shard = 0; shard < placement_->num_shards(); ++shard) {
    const auto send = [this, shard, ticket, null, step = step_] {
      const auto encoding = static_cast<v1::Encoding>(random_->Below(sick() ? 2 : 4));
      if (step_ == step && unsent_.erase(shard) > 0) PushTo(shard, ticket, null, encoding);  // else it was given up
    };
    // What a round may close without leaves part by part, as backward goes on.
    null || !MayMissRound() ? send() : Later(options_.mean_step * random_->Exponential(0.5), send);
  }
}

std::vector<float> SimWorker::Gradient(std::uint32_t shard) {
  const ChunkRun run = placement_->Chunk(shard, 0);
  std::vector<float> floats(placement_->RunElements(run));
  const float value = sick() ? std::nanf("") : 1;
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) floats[i * placement_->block_elements() + life_->slot] = value;
  return floats;
}

void SimWorker::PushTo(std::uint32_t shard, const v1::Ticket& ticket, bool null, v1::Encoding encoding) {
  const ChunkRun run = placement_->Chunk(shard, 0);
  v1::PushRequest request;
  *request.mutable_stamp() = StampNow();
  request.set_clock(step_);
  request.set_chunk_count(1);
  request.set_samples(options_.samples);
  request.set_read_version(read_version_[shard]);
  if (ticket.serial() != 0) *request.mutable_ticket() = ticket;
  Buffer payload;
  if (null || run.num_blocks == 0) {
    request.set_null_verdict(null ? v1::REFUSED : v1::APPLIED);
  } else {
    request.mutable_run()->set_first_block(run.first_block);
    request.mutable_run()->set_num_blocks(run.num_blocks);
    request.set_encoding(encoding);
    payload = EncodeRun(*placement_, run, request.encoding(), Gradient(shard), 0.001);
    sent_[shard] = EncodeMessage(request, payload);
  }
  Ask<v1::PushReply>(
      shards_[shard], "ParameterServer/Push", request, payload,
      [this, shard, ticket, null, encoding](const v1::PushReply& reply, auto&) {
        if (reply.has_not_yet()) {
          return Later(kAgain, [this, shard, ticket, null, encoding] { PushTo(shard, ticket, null, encoding); });
        }
        life_->pushes[step_].verdicts[shard] = reply.verdict();
        v1::Journaled& journaled = journaled_[shard];
        journaled.set_shard_index(shard);
        journaled.set_generation(reply.generation());
        journaled.set_records(reply.journaled());
        open_round_ = std::max(open_round_, reply.open_round());
        if (--waiting_for_ == 0) Commit();
      },
      [this, shard](const absl::Status& status) {
        if (absl::IsFailedPrecondition(status)) return Rejoin();
        if (!sick() || !absl::StrContains(status.message(), "non-finite")) return Fail("Push", status);
        life_->pushes[step_].verdicts[shard] = v1::REFUSED;
        if (--waiting_for_ == 0) Commit();
      });
}

void SimWorker::Commit() {
  sent_.clear();
  const SimLife::Push& push = life_->pushes[step_];
  bool dropped = false;
  for (const auto& [shard, verdict] : push.verdicts) dropped = dropped || verdict == v1::DROPPED;
  v1::CommitDataRequest request;
  *request.mutable_stamp() = StampNow();
  request.set_clock(step_);
  request.set_applied(!push.null && !dropped);
  request.set_samples(options_.samples);
  for (const auto& [shard, journaled] : journaled_) *request.add_journaled() = journaled;
  journaled_.clear();
  if (range_) {
    v1::DataRange& part = *request.add_ranges();
    part = *range_;
    part.set_end(std::min(range_->end(), range_->begin() + options_.samples));
    range_->set_begin(part.end());
    if (range_->begin() == range_->end()) range_.reset();
  }
  step_ = dropped ? std::max(step_ + 1, open_round_) : step_ + 1;
  ++steps_;
  Ask<v1::CommitDataReply>(options_.coordinator, "Coordinator/CommitData", request, {},
                           [this](const v1::CommitDataReply&, auto&) { NextStep(); });
}

void SimWorker::Leave() {
  v1::LeaveRequest request;
  *request.mutable_stamp() = StampNow();
  request.set_reason(preempted_ ? "preempted" : "the run ends");
  Ask<v1::LeaveReply>(options_.coordinator, "Coordinator/Leave", request, {},
                      [this](const v1::LeaveReply&, auto&) { Kill(); });
}

}  // namespace leeway
