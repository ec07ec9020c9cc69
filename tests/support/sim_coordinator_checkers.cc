// SimCluster's checkers of what the coordinator decides: once told, a decision stands, whatever has died since.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc.h"
#include "tests/support/answer.h"
#include "tests/support/sim_cluster.h"

namespace leeway {

void SimCluster::OnSnapshot(v1::WatchReply snapshot) {
  if (snapshot.prove() != 0) return;  // there is none in it
  NoteEra({snapshot.era(), snapshot.base_checkpoint()});
  for (const v1::Member& member : snapshot.members()) {
    if (member_in_.try_emplace(member.incarnation(), snapshot.era()).first->second == snapshot.era()) continue;
    Complain(absl::StrCat("incarnation ", absl::Hex(member.incarnation()),
                          " is a member in two eras: ", member.ShortDebugString()));
  }
  for (const v1::RoundClose& close : snapshot.closes()) {
    const auto [it, first] = closes_.try_emplace(close.round(), Close{close, snapshot.era()});
    if (!first && it->second.close.SerializeAsString() != close.SerializeAsString()) {
      Complain(absl::StrCat("round ", close.round(), " was closed twice"));
    }
  }
  const std::uint64_t sequence = snapshot.sequence();
  const std::uint64_t epoch = snapshot.membership_epoch();
  if (told_.try_emplace(sequence, snapshot.SerializeAsString()).first->second != snapshot.SerializeAsString()) {
    Complain(absl::StrCat("there are two snapshots ", sequence));
  }
  most_members_ = std::max(most_members_, static_cast<std::size_t>(snapshot.members_size()));
  std::string members;
  for (const v1::Member& member : snapshot.members()) members += member.SerializeAsString();
  if (members_.try_emplace(epoch, members).first->second != members) {
    Complain(absl::StrCat("there are two memberships of epoch ", epoch));
  }
  if (snapshot_.run_id() != 0 && snapshot.run_id() != snapshot_.run_id()) Complain("there are two runs");
  if (sequence <= snapshot_.sequence()) return;
  if (epoch < snapshot_.membership_epoch()) Complain(absl::StrCat("membership epoch ", epoch, " after a later one"));
  if (snapshot.era() < snapshot_.era()) Complain("the run's era fell");
  if (snapshot.state() < snapshot_.state() && snapshot.era() == snapshot_.era()) Complain("the run's state went back");
  if (snapshot.policy().number() < snapshot_.policy().number()) Complain("the policy's number fell");
  const std::int64_t bound = snapshot.policy().staleness_bound();
  loosest_ = bound < 0 || loosest_ < 0 ? -1 : std::max(loosest_, bound);
  std::map<std::uint64_t, std::uint64_t> entries;
  for (const v1::Member& member : snapshot.members()) entries[member.incarnation()] = member.entry_clock();
  for (const v1::StepLimit& limit : snapshot.policy_change().limits()) {
    Offset& known = offsets_[limit.incarnation()];
    if (known.change == snapshot.policy_change().id()) continue;
    known = {snapshot.policy_change().id(), entries[limit.incarnation()], limit.offset()};
  }
  const std::string before = snapshot_.committed_checkpoint();
  snapshot_ = std::move(snapshot);
  if (!snapshot_.committed_checkpoint().empty() && snapshot_.committed_checkpoint() != before) {
    CheckCheckpoint(snapshot_.committed_checkpoint());
  }
}

void SimCluster::OnTicket(const v1::OpenPushRequest& request, const absl::Status& status, const Buffer& reply) {
  if (!status.ok() && !absl::IsAborted(status)) return;
  const std::pair<std::uint64_t, std::uint64_t> push(request.stamp().incarnation(), request.clock());
  v1::Ticket ticket;
  if (status.ok()) DecodeMessage(reply, &ticket).IgnoreError();
  const std::string decision = status.ok() ? ticket.SerializeAsString() : "refused";
  if (tickets_.try_emplace(push, decision).first->second != decision) {
    Complain(absl::StrCat("two decisions on step ", push.second, " of incarnation ", absl::Hex(push.first)));
  }
  if (status.ok() && serials_.try_emplace(ticket.serial(), push).first->second != push) {
    Complain(absl::StrCat("ticket ", ticket.serial(), " was given twice"));
  }
}

void SimCluster::OnLease(const v1::AcquireDataRequest& request, const v1::AcquireDataReply& reply) {
  if (!reply.has_range()) return;
  const std::string range = reply.range().SerializeAsString();
  if (ranges_.try_emplace({request.stamp().incarnation(), request.request()}, range).first->second != range) {
    Complain(absl::StrCat("data request ", request.request(), " of incarnation ",
                          absl::Hex(request.stamp().incarnation()), " got two ranges"));
  }
}

void SimCluster::OnCommit(const v1::CommitDataRequest& request) {
  const std::pair<std::uint64_t, std::uint64_t> push(request.stamp().incarnation(), request.clock());
  if (!commits_.insert(push).second || !request.applied()) return;
  for (const v1::DataRange& range : request.ranges()) {
    for (std::uint64_t position = range.begin(); position < range.end(); ++position) {
      if (!committed_.emplace(range.epoch(), position).second) {
        Complain(absl::StrCat("record ", position, " of epoch ", range.epoch(), " was committed twice"));
      }
    }
  }
}

void SimCluster::CheckCheckpoint(const std::string& name) {
  // What it came after may be gone by now, with what the journal had before, or lost with a machine; then it must do
  // alone.
  const bool alone = lossy() || (options_.checkpoint_keep == 1 && !checkpoints_.empty());
  // A restarted coordinator that would take one of the same steps finds it there, and tells of it again.
  if (!checkpoints_.insert(name).second) return;
  const absl::StatusOr<SavedRun> saved = ReadCheckpoint(name);
  if (!saved.ok()) return Complain(saved.status().ToString());
  CheckWhole(name, *saved);
  if (!options_.journal) return;
  for (std::uint32_t shard = 0; shard < options_.shards; ++shard) {
    const auto with = Recovered(shard, "");
    if (!with.ok()) return Complain(absl::StrCat("ps", shard, " and ", name, ": ", with.status().ToString()));
    if (!absl::EndsWith((*with)->checkpoint(), name)) {
      return Complain(absl::StrCat("ps", shard, " would not use ", name, ", but '", (*with)->checkpoint(), "'"));
    }
    if (alone) continue;
    const auto without = Recovered(shard, name);
    if (!without.ok()) {
      return Complain(absl::StrCat("ps", shard, " without ", name, ": ", without.status().ToString()));
    }
    const bool counts = !(*with)->CutShort() && !(*without)->CutShort();
    if ((*with)->Everything(counts) != (*without)->Everything(counts)) {
      Complain(absl::StrCat("ps", shard, " from ", name,
                            " is not what its journal says: ", (*with)->shard().SaveState().ShortDebugString(),
                            "\n and without: ", (*without)->shard().SaveState().ShortDebugString()));
    }
  }
}

void SimCluster::CheckData() {
  if (options_.policy.data_sharing() != v1::LEASED || options_.policy.stop().epochs() == 0) return;
  const std::uint64_t wanted = options_.policy.stop().epochs() * options_.num_records;
  std::uint64_t samples = 0;
  if (gone_[0] == nullptr) {
    const auto status = std::make_shared<Answer<v1::GetStatusReply>>();
    ps_[0]->coordinator()->Handle("GetStatus", EncodeMessage(v1::GetStatusRequest()), FillIn(status));
    samples = status->message.samples();
  } else {
    const std::unique_ptr<CrashFiles> files = files_[0]->Clone();
    SimExecutor executor(&clock_, &random_);
    const auto store = FileCoordinatorStore::Open(SimPs::kDirectory, files.get(), &clock_, &executor);
    if (!store.ok()) return Complain(store.status().ToString());
    samples = (*store)->TakeSaved()->state.samples();
  }
  // A range that was refused again and again is given up.
  const bool all = options_.null_chance == 0 && options_.policy.max_delay() < 0 && !options_.sick_after;
  if (samples > wanted || (all && samples != wanted)) {
    Complain(absl::StrCat(samples, " records were committed, not ", wanted));
  }
  if (committed_.size() > samples) {
    Complain(absl::StrCat(committed_.size(), " records were acknowledged, but ", samples, " counted"));
  }
}

}  // namespace leeway
