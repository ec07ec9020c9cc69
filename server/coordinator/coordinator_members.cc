// Coordinator: joining, heartbeats and leaving.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "server/coordinator/check_progress.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/encoding_rules.h"
#include "server/coordinator/group_rules.h"
#include "server/push_window.h"

namespace leeway {
namespace {

constexpr std::size_t kLongestName = 128;
constexpr std::size_t kLongestReason = 200;

// FAILED_PRECONDITION naming both values; 0 means "as the cluster says".
absl::Status Compare(const std::string& what, std::uint64_t theirs, std::uint64_t ours) {
  if (theirs == 0 || ours == 0 || theirs == ours) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("join: ", what, " is ", theirs, " at the worker and ", ours, " in this cluster"));
}

// Evaluations of other data would stand among the others, and decide when to stop.
absl::Status CheckTestData(const v1::JoinRequest& request, const v1::DataConfig& known) {
  if (request.role() != v1::EVALUATOR) return absl::OkStatus();
  RETURN_IF_ERROR(Compare("the number of test records", request.data().num_records(), known.num_records()));
  return Compare("the test set's fingerprint", request.data().fingerprint(), known.fingerprint());
}

absl::Status CheckRunId(std::uint64_t run_id, const v1::Stamp& stamp) {
  if (stamp.run_id() == run_id) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("coordinator: this is run ", absl::Hex(run_id),
                                                    ", the request is of run ", absl::Hex(stamp.run_id())));
}

}  // namespace

absl::Status Coordinator::CheckStamp(const v1::Stamp& stamp) {
  RETURN_IF_ERROR(CheckRunId(options_.run_id, stamp));
  return membership_.Renew(clock_->Now(), stamp.worker_id(), stamp.incarnation());
}

// --- Join ------------------------------------------------------------------------------------------------

void Coordinator::Join(const v1::JoinRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    absl::Status status = CheckJoin(request);
    if (status.ok() && !manifest_) status = AdoptModel(request);
    if (!status.ok()) {
      spdlog::warn("coordinator: worker '{}' was refused: {}", PrintableUtf8(request.name(), kLongestName),
                   std::string(status.message()));
      replies.Refuse(done, status);
    } else {
      auto held = std::make_unique<Held>();
      held->kind = Held::kJoin;
      held->join = request;
      held->join.clear_manifest();  // it may be large, and is known now
      held->done = std::move(done);
      Hold(std::move(held), kMaxHold, &replies);
    }
  }
  Send(std::move(replies));
}

// With the coordinator, and with every ps that has come: a worker talks to all of them.
absl::Status Coordinator::CheckProtocol(const v1::JoinRequest& request) const {
  const std::string who = absl::StrCat("worker '", PrintableUtf8(request.name(), kLongestName), "'");
  const std::uint32_t version = request.protocol_version();
  RETURN_IF_ERROR(CheckProtocolVersions(who, version, "this coordinator", options_.protocol_version));
  for (const ShardInfo& shard : shards_) {
    if (shard.protocol_version == 0) continue;
    RETURN_IF_ERROR(
        CheckProtocolVersions(who, version, absl::StrCat("the ps at ", shard.address), shard.protocol_version));
  }
  return absl::OkStatus();
}

absl::Status Coordinator::CheckJoin(const v1::JoinRequest& request) {
  RETURN_IF_ERROR(CheckProtocol(request));
  if (request.run_id() != 0 && request.run_id() != options_.run_id) {
    return absl::FailedPreconditionError(absl::StrCat("join: the worker belongs to run ", absl::Hex(request.run_id()),
                                                      ", this is run ", absl::Hex(options_.run_id)));
  }
  if (request.name().empty() || request.name().size() > kLongestName || request.incarnation() == 0) {
    return absl::InvalidArgumentError(absl::StrCat("join: the name has ", request.name().size(), " bytes (1 to ",
                                                   kLongestName, " are allowed) and the incarnation is ",
                                                   request.incarnation(), " (not 0)"));
  }
  if (PrintableUtf8(request.name(), kLongestName) != request.name()) {
    return absl::InvalidArgumentError(absl::StrCat("join: the name '", PrintableUtf8(request.name(), kLongestName),
                                                   "' has characters that are not printable"));
  }
  RETURN_IF_ERROR(Compare("num_shards", request.num_shards(), options_.num_shards));
  RETURN_IF_ERROR(CheckDepth(request));
  if (request.pipeline_depth() > PushWindow::kAhead - 2) {
    return absl::FailedPreconditionError(absl::StrCat("join: --pipeline_depth=", request.pipeline_depth(), "; at most ",
                                                      PushWindow::kAhead - 2, " is allowed"));
  }
  RETURN_IF_ERROR(CheckEncodings(request, policies_.policy()));
  if (!manifest_) return absl::OkStatus();
  if (request.model_fingerprint() != manifest_->fingerprint()) {
    return absl::FailedPreconditionError(
        absl::StrCat("join: model '", PrintableUtf8(request.manifest().model(), kLongestName), "' has fingerprint ",
                     absl::Hex(request.model_fingerprint()), "; this cluster trains model '", manifest_->model(),
                     "' with fingerprint ", absl::Hex(manifest_->fingerprint())));
  }
  RETURN_IF_ERROR(Compare("the block size", request.block_elements(), placement_->block_elements()));
  RETURN_IF_ERROR(Compare("the chunk size", request.chunk_elements(), Placement::kChunkElements));
  if (request.role() == v1::EVALUATOR) return CheckTestData(request, test_data_);
  RETURN_IF_ERROR(Compare("the number of records", request.data().num_records(), data_.num_records()));
  RETURN_IF_ERROR(Compare("the data's fingerprint", request.data().fingerprint(), data_.fingerprint()));
  if (request.init_fingerprint() != 0 && request.init_fingerprint() != init_fingerprint_) {
    return absl::FailedPreconditionError(
        absl::StrCat("join: the file of --init_from has fingerprint ", absl::Hex(request.init_fingerprint()),
                     "; this run started from ",
                     init_fingerprint_ == 0 ? "its seed" : absl::StrCat("one with ", absl::Hex(init_fingerprint_))));
  }
  return absl::OkStatus();
}

absl::Status Coordinator::CheckDepth(const v1::JoinRequest& request) const {
  const bool synchronous = policies_.policy().staleness_bound() == 0;
  if (request.role() != v1::TRAINER || !synchronous || request.pipeline_depth() == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("join: --pipeline_depth=", request.pipeline_depth(),
                                                    " needs a --staleness_bound of at least 1 or -1; it is 0 here"));
}

absl::Status Coordinator::AdoptModel(const v1::JoinRequest& request) {
  // The first trainer brings the model; an evaluator that comes before it is told to wait.
  if (request.role() != v1::TRAINER) return absl::OkStatus();
  ASSIGN_OR_RETURN(Manifest manifest, Manifest::FromProto(request.manifest()));
  if (manifest.fingerprint() != request.model_fingerprint()) {
    return absl::FailedPreconditionError(absl::StrCat("join: the worker computes model fingerprint ",
                                                      absl::Hex(request.model_fingerprint()), ", this ps ",
                                                      absl::Hex(manifest.fingerprint()), " of the same manifest"));
  }
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(manifest.elements(), options_.num_shards));
  RETURN_IF_ERROR(Compare("the block size", request.block_elements(), placement.block_elements()));
  RETURN_IF_ERROR(Compare("the chunk size", request.chunk_elements(), Placement::kChunkElements));
  RETURN_IF_ERROR(CheckGroups(manifest, policies_.policy()));
  if (request.data().num_records() == 0) {
    return absl::InvalidArgumentError("join: the worker's training set has no records");
  }
  manifest_ = std::move(manifest);
  placement_ = placement;
  data_ = request.data();
  init_fingerprint_ = request.init_fingerprint();
  MakeLeases();
  store_->SetManifest(manifest_->ToProto());
  Event(absl::StrCat("model '", manifest_->model(), "': ", manifest_->elements(), " parameters in ",
                     placement.num_blocks(), " blocks of ", placement.block_elements(), " over ", options_.num_shards,
                     " ps; ", data_.num_records(), " records"));
  changed_ = true;
  return absl::OkStatus();
}

void Coordinator::MakeLeases() {
  if (policies_.policy().data_sharing() != v1::LEASED) return;
  DataLeases::Config config;
  config.num_records = data_.num_records();
  config.epochs = policies_.policy().stop().epochs();
  config.max_range = policies_.policy().lease_records();
  leases_.emplace(config);
}

bool Coordinator::AttemptJoin(Held& held, Replies* replies) {
  const v1::JoinRequest& request = held.join;
  v1::JoinReply reply;
  reply.set_state(state_);
  reply.set_failure(Failure());
  const auto answer = [&](const google::protobuf::Message& message) {
    replies->Answer(std::move(held.done), message);
    return true;
  };
  const auto not_yet = [&](const std::string& reason) {
    if (!held.expired) return false;
    reply.mutable_not_yet()->set_reason(reason);
    return answer(reply);
  };
  // Too late for a trainer: it is told the state and leaves.
  if (state_ >= v1::FINISHING && (request.role() == v1::TRAINER || state_ == v1::FINISHED)) return answer(reply);
  if (request.role() == v1::EVALUATOR) evaluator_waits_ = clock_->Now();
  const bool shards_here =
      std::all_of(shards_.begin(), shards_.end(), [](const ShardInfo& shard) { return shard.generation != 0; });
  if (!shards_here) return not_yet(WaitsFor());
  if (!manifest_) return not_yet("no trainer has brought the model yet");

  absl::Status refused = CheckQuarantine(request.name());
  // The bound may have changed, and another evaluator may have come, since it asked.
  if (refused.ok()) refused = CheckDepth(request);
  if (refused.ok()) refused = CheckTestData(request, test_data_);
  if (!refused.ok()) {
    spdlog::warn("coordinator: a worker was refused: {}", std::string(refused.message()));
    replies->Refuse(std::move(held.done), refused);
    return true;
  }
  const std::optional<std::uint32_t> known = membership_.IdOf(request.name());
  const v1::Member* member = known ? membership_.Find(*known) : nullptr;
  const bool in_room = member == nullptr || member->incarnation() != request.incarnation();
  if (in_room && policies_.pending()) return not_yet("the policy is about to change");
  const absl::StatusOr<Membership::JoinAnswer> joined =
      membership_.Join(clock_->Now(), {request.name(), request.incarnation(), request.role(), request.rank(),
                                       request.samples_per_step(), request.pipeline_depth()});
  if (!joined.ok()) refused = joined.status();
  if (joined.ok() && in_room) {
    // Admitted just now: in rounds a rank keeps its batch, or an epoch would not come out even.
    const std::optional<std::uint32_t> id = membership_.IdOf(request.name());
    const v1::Member* admitted = id ? membership_.Find(*id) : nullptr;
    if (admitted != nullptr && admitted->incarnation() == request.incarnation()) {
      const auto batch = rank_samples_.find(admitted->rank());
      if (policies_.policy().aggregation() == v1::ROUND && admitted->state() == v1::JOINING &&
          batch != rank_samples_.end() && batch->second != request.samples_per_step()) {
        refused = absl::FailedPreconditionError(absl::StrCat("join: rank ", admitted->rank(), " trains with ",
                                                             batch->second, " samples per step in this run, not ",
                                                             request.samples_per_step()));
        membership_.Leave(*id, request.incarnation()).IgnoreError();
      } else {
        const bool trainer = request.role() == v1::TRAINER;
        if (!trainer && test_data_.num_records() == 0) test_data_ = request.data();
        board_.SetState(*id, request.name(), request.role(), admitted->rank(), trainer ? "joining" : "observer", "");
      }
    }
  }
  if (!refused.ok()) {
    spdlog::warn("coordinator: worker '{}' was refused: {}", request.name(), std::string(refused.message()));
    replies->Refuse(std::move(held.done), refused);
    return true;
  }
  if (!joined->accepted) return not_yet(joined->waiting);
  if (request.role() == v1::EVALUATOR) evaluator_waits_.reset();
  // A member that nobody has been told of yet would be a stranger to the shards.
  if (membership_.epoch() != snapshot_.membership_epoch()) return not_yet("the shards are about to be told of it");
  return answer(JoinReplyFor(*membership_.Find(joined->worker_id), request));
}

template <typename Reply>
void Coordinator::AddAddresses(Reply* reply) const {
  for (const ShardInfo& shard : shards_) {
    reply->add_shard_addresses(shard.address);
    *reply->add_local_endpoints() = shard.local_endpoint;
  }
}

v1::JoinReply Coordinator::JoinReplyFor(const v1::Member& member, const v1::JoinRequest& request) const {
  v1::JoinReply reply;
  reply.set_state(state_);
  reply.set_run_id(options_.run_id);
  reply.set_worker_id(member.worker_id());
  reply.set_rank(member.rank());
  reply.set_membership_epoch(membership_.epoch());
  reply.set_entry_clock(member.entry_clock());
  *reply.mutable_policy() = policies_.policy();
  AddAddresses(&reply);
  reply.set_address_book_version(address_book_version_);
  reply.set_num_shards(options_.num_shards);
  reply.set_block_elements(placement_->block_elements());
  reply.set_chunk_elements(Placement::kChunkElements);
  reply.set_lease_millis(static_cast<std::uint32_t>(absl::ToInt64Milliseconds(options_.lease)));
  const bool weights_missing =
      std::any_of(shards_.begin(), shards_.end(), [](const ShardInfo& shard) { return !shard.weights_ready; });
  reply.set_put_weights(init_fingerprint_ != 0 && request.init_fingerprint() == init_fingerprint_ && weights_missing);
  const auto cursor = data_cursor_.find(member.rank());
  reply.set_data_cursor(cursor == data_cursor_.end() ? 0 : cursor->second);
  reply.set_rounds_per_epoch(rounds_per_epoch_);
  reply.set_num_records(data_.num_records());
  return reply;
}

// --- Heartbeat and Leave ---------------------------------------------------------------------------------

void Coordinator::Heartbeat(const v1::HeartbeatRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    v1::HeartbeatReply reply;
    const absl::Status status = CheckStamp(request.stamp());
    board_.SetClock(request.stamp().worker_id(), status.ok() ? request.clock() : 0);
    if (status.ok()) waits_under_way_.Hear(clock_->Now(), request);
    reply.set_membership_epoch(snapshot_.membership_epoch());
    reply.set_policy_number(policies_.policy().number());
    reply.set_state(state_);
    reply.set_samples(samples_);
    reply.set_drain(IsDrained(request.stamp()));
    reply.set_address_book_version(address_book_version_);
    if (request.address_book_version() != address_book_version_) AddAddresses(&reply);
    replies.Give(std::move(done), status, reply);
  }
  Send(std::move(replies));
}

void Coordinator::Forget(std::uint32_t worker, std::uint64_t incarnation) {
  if (leases_) leases_->GiveBackAll({worker, incarnation});
  if (at_cut_) at_cut_->Forget(worker, incarnation);
  for (std::uint64_t serial : tickets_.Void(worker, incarnation)) {
    void_tickets_[serial] = 0;
    changed_ = true;
  }
  data_states_.erase(worker);
  drained_workers_.erase(worker);
  divergence_.Forget(worker);
  waits_under_way_.Forget(worker);
}

void Coordinator::Leave(const v1::LeaveRequest& request, ReplyCallback done) {
  Replies replies;
  {
    MutexLock lock(mu_);
    v1::LeaveReply reply;
    reply.set_failure(Failure());
    // Whoever was a member of this run is told how it has ended. How another one has, nobody here knows.
    const absl::Status run = CheckRunId(options_.run_id, request.stamp());
    replies.Give(std::move(done), run, reply);
    const std::uint32_t worker = request.stamp().worker_id();
    const v1::Member* member = membership_.Find(worker);
    if (run.ok() && member != nullptr && member->incarnation() == request.stamp().incarnation()) {
      const std::string reason = PrintableUtf8(request.reason(), kLongestReason);
      const bool observer = member->state() == v1::OBSERVER;
      const bool reports =
          request.has_progress() && CheckProgress(request.progress(), options_.num_shards, Membership::kMostIds).ok();
      if (reports) HearProgress(clock_->Now(), *member, request.progress());
      if (member->state() == v1::LIVE && policies_.policy().aggregation() == v1::ROUND) {
        rounds_.Leave(member->rank(), request.pushed(), clock_->Now() + options_.lease);
      }
      if (request.finished() && !observer) finished_ranks_.insert(member->rank());
      board_.SetState(worker, member->name(), observer ? v1::EVALUATOR : v1::TRAINER, member->rank(), "left", reason);
      Event(absl::StrCat("worker '", member->name(), "' leaves: ", reason));
      Forget(worker, request.stamp().incarnation());
      membership_.Leave(worker, request.stamp().incarnation()).IgnoreError();
      Settle(&replies);
    }
  }
  Send(std::move(replies));
}

}  // namespace leeway
