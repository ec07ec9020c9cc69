// SimCluster's checkers: what is looked at after every reply, and at the end.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/support/sim_cluster.h"

namespace leeway {

// Of "ps<index>".
static std::uint32_t IndexOf(const std::string& address) {
  std::uint32_t index = 0;
  (void)absl::SimpleAtoi(address.substr(2), &index);
  return index;
}

// Steps of `life` below `end` that a pull from `shard` must show.
static std::uint64_t Promised(const SimLife& life, std::uint32_t shard, std::uint64_t end) {
  std::uint64_t count = 0;
  for (auto it = life.pushes.begin(); it != life.pushes.end() && it->first < end; ++it) {
    const auto verdict = it->second.verdicts.find(shard);
    const bool dropped = verdict != it->second.verdicts.end() && verdict->second == v1::DROPPED;
    if (!it->second.null && !dropped) ++count;
  }
  return count;
}

void SimCluster::OnArrival(const std::string& address, const std::string& method, const Buffer& request) {
  if (method == "Coordinator/CommitData") {
    v1::CommitDataRequest commit;
    DecodeMessage(request, &commit).IgnoreError();
    asked_.try_emplace({commit.stamp().incarnation(), commit.clock()}, commit);
  }
  if (method != "ParameterServer/Push") return;
  Decoded<v1::PushRequest> push;
  if (!DecodeMessage(request, &push.message, &push.payload).ok()) return;
  if (!OfThisEra(push.message.stamp().incarnation())) return;
  if (const auto wrong = pushes_.Came(IndexOf(address), push.message, push.payload)) Complain(*wrong);
}

void SimCluster::OnReply(const std::string& address, const std::string& method, const Buffer& request,
                         const absl::Status& status, const Buffer& reply) {
  const auto as = [](const Buffer& bytes, auto message) {
    DecodeMessage(bytes, &message).IgnoreError();
    return message;
  };
  if (method == "Coordinator/OpenPush") return OnTicket(as(request, v1::OpenPushRequest()), status, reply);
  if (method == "ParameterServer/Push") {
    const auto push = as(request, v1::PushRequest());
    // (Shards that are still to go back, and those that have, may say different things of what was pushed before.)
    const bool counts = OfThisEra(push.stamp().incarnation());
    const auto wrong = counts ? pushes_.Answered(IndexOf(address), push, status, as(reply, v1::PushReply()))
                              : std::optional<std::string>();
    if (wrong) Complain(*wrong);
  }
  if (!status.ok()) return;
  if (method == "CheckpointStore/Write") ++brought_;
  if (method == "Coordinator/WatchMembership") return OnSnapshot(as(reply, v1::WatchReply()));
  if (method == "Coordinator/CommitData") return OnCommit(as(request, v1::CommitDataRequest()));
  if (method == "Coordinator/AcquireData") {
    return OnLease(as(request, v1::AcquireDataRequest()), as(reply, v1::AcquireDataReply()));
  }
  std::uint64_t version = 0;
  if (method == "ParameterServer/Pull") {
    Decoded<v1::PullReply> pull;
    DecodeMessage(reply, &pull.message, &pull.payload).IgnoreError();
    // With dc an answer that comes again is as old as it was the first time.
    if (options_.policy.dc_lambda() > 0) return;
    version = pull.message.version();
  } else if (method == "ParameterServer/Push") {
    const auto push = as(reply, v1::PushReply());
    version = push.version();
    if (push.verdict() == v1::APPLIED && !push.duplicate()) ++applied_;
  } else {
    return;
  }
  std::uint64_t& last = version_[address];
  if (version < last) Complain(absl::StrCat("the version of ", address, " fell from ", last, " to ", version));
  last = version;
}

void SimCluster::CheckPull(const SimLife& life, std::uint32_t shard, const v1::PullRequest& request,
                           const v1::PullReply& reply, const std::vector<float>& weights) {
  if (options_.policy.aggregation() == v1::ROUND) {
    if (reply.version() < request.clock()) Complain(absl::StrCat("round ", request.clock(), " answered too early"));
    return;
  }
  // Differences in INT8 leave less than half a push out.
  const auto shown = [&weights](const SimLife& other) {
    return static_cast<std::uint64_t>(std::lround(-weights[other.slot]));
  };
  if (shown(life) < Promised(life, shard, request.own_clock())) {
    Complain(absl::StrCat(life.name, " pulled weights without one of its own first ", request.own_clock(), " pushes"));
  }
  // What a policy of before has promised was promised by other clocks.
  const std::uint64_t under = reply.has_policy() ? reply.policy().number() : request.stamp().policy_number();
  const std::int64_t bound = snapshot_.policy().staleness_bound();
  if (under != snapshot_.policy().number() || bound < 0) return;
  const auto offset = [this](const v1::Member& member) -> std::optional<std::uint64_t> {
    const auto it = offsets_.find(member.incarnation());
    if (it == offsets_.end() || it->second.offset == 0) return 0;
    return it->second.entry == member.entry_clock() ? std::optional(it->second.offset) : std::nullopt;
  };
  std::optional<std::uint64_t> own;
  for (const v1::Member& member : snapshot_.members()) {
    if (member.incarnation() == life.incarnation) own = offset(member);
  }
  if (!own || request.clock() + *own <= static_cast<std::uint64_t>(bound)) return;
  const std::uint64_t gate_end = request.clock() + *own - static_cast<std::uint64_t>(bound);
  for (const v1::Member& member : snapshot_.members()) {
    if (member.state() != v1::LIVE) continue;
    const std::optional<std::uint64_t> theirs = offset(member);
    if (!theirs || gate_end <= *theirs) continue;  // it has entered anew: its steps of before count otherwise
    const std::uint64_t end = gate_end - *theirs;  // steps below it are promised
    for (const auto& other : lives_) {
      if (other->incarnation != member.incarnation() || other->over || !other->joined) continue;
      // The worker may not have heard yet where it goes on.
      for (std::uint64_t step = std::max(other->entry, member.entry_clock()); step < end; ++step) {
        if (other->pushes.count(step) > 0) continue;
        return Complain(absl::StrCat(life.name, " was let pass at clock ", request.clock(), ", and ", other->name,
                                     " has not made step ", step));
      }
      if (shown(*other) < Promised(*other, shard, end)) {
        return Complain(absl::StrCat(life.name, " pulled at clock ", request.clock(), " and sees ", shown(*other),
                                     " of ", Promised(*other, shard, end), " pushes of ", other->name));
      }
    }
  }
}

void SimCluster::CheckEnd() {
  for (std::uint32_t shard = 0; shard < options_.shards; ++shard) {
    const bool told = gone_[shard] != nullptr || ps_[shard]->end()->ok();
    if (!told) return Complain(absl::StrCat("ps", shard, " ended with ", ps_[shard]->end()->ToString()));
    const v1::ShardStats stats = ShardOf(shard).Describe().stats();
    const std::int64_t bound = loosest_;
    // In rounds a joiner's entry is ahead of the others' clocks; rounds are checked below.
    const bool each = options_.policy.aggregation() == v1::EACH;
    // A change of the policy moves the gate's clocks on by what a pipeline has pulled ahead. A `ps` that is killed may
    // take with it pushes that nobody was told of yet: they come again, to others that were let on when it had them.
    const std::uint64_t ahead = (policy_changes() > 0 ? deepest_ : 0) + (killed_.empty() ? 0 : deepest_ + 1);
    if (each && bound >= 0 && stats.gap().max() > static_cast<std::uint64_t>(bound) + 1 + ahead) {
      Complain(absl::StrCat("clocks of ps", shard, " were ", stats.gap().max(), " apart"));
    }
    if (stats.held_bytes() != 0 && each) Complain("bytes are held at the end");
    if (stats.inflight_bytes() != 0) Complain("bytes are in flight at the end");
    CheckShard(shard);
  }
  for (const auto& worker : workers_) {
    const bool sick = options_.sick_after && worker == workers_.front();
    if (worker->quarantined() && !sick) Complain(absl::StrCat(worker->name(), " is quarantined for nothing"));
  }
  if (options_.trainers) CheckResiduals();
  CheckData();
}

void SimCluster::CheckShard(std::uint32_t index) {
  if (ShardOf(index).store() == nullptr) return Complain(absl::StrCat("ps", index, " has no weights"));
  std::vector<std::vector<float>> blocks;
  for (std::uint64_t b = index; b < placement_.num_blocks(); b += options_.shards) {
    const Buffer bytes = ShardOf(index).store()->ReadCopy({b, 1});
    blocks.emplace_back(bytes.size() / sizeof(float));
    bytes.CopyTo(0, bytes.size(), blocks.back().data());
    if (options_.trainers) continue;
    if (std::any_of(blocks.back().begin() + static_cast<std::ptrdiff_t>(lives_.size()), blocks.back().end(),
                    [](float weight) { return weight != 0; })) {
      Complain("a weight that nobody touched has changed");
    }
  }
  if (options_.trainers) return CheckSums(index, blocks);
  if (options_.policy.aggregation() == v1::ROUND) {
    CheckRounds(index, blocks);
  } else {
    CheckEach(index, blocks);
  }
}

void SimCluster::CheckEach(std::uint32_t shard, const std::vector<std::vector<float>>& blocks) {
  for (const auto& life : lives_) {
    std::uint64_t sure = 0;
    std::uint64_t in_doubt = 0;
    for (const auto& [step, push] : life->pushes) {
      if (push.null || !OfThisEra(life->incarnation)) continue;
      const auto verdict = push.verdicts.find(shard);
      if (verdict == push.verdicts.end()) {
        ++in_doubt;
      } else if (verdict->second == v1::APPLIED) {
        ++sure;
      }
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const std::uint64_t begin = placement_.BlockBegin(shard + i * options_.shards);
      const float weight = Base(begin + life->slot) - blocks[i][life->slot];
      if (weight < static_cast<float>(sure) || weight > static_cast<float>(sure + in_doubt)) {
        Complain(absl::StrCat("ps", shard, " applied ", weight, " pushes of ", life->name, " (slot ", life->slot,
                              "); acknowledged: ", sure, ", in doubt: ", in_doubt));
      }
    }
  }
}

// Who gave to a round and went on to a later one was a member when it was closed.
void SimCluster::CheckNamed(const Close& told) {
  const v1::RoundClose& close = told.close;
  const bool all_finite = options_.null_chance == 0 && !options_.sick_after;
  for (const auto& life : lives_) {
    const auto push = life->pushes.find(close.round());
    if (EraOf(life->incarnation) != told.era) continue;
    if (push == life->pushes.end() || push->second.null || life->pushes.rbegin()->first == close.round()) continue;
    const bool named = std::count(close.ranks().begin(), close.ranks().end(), life->rank) > 0;
    const bool dropped = std::any_of(push->second.verdicts.begin(), push->second.verdicts.end(),
                                     [](const auto& verdict) { return verdict.second == v1::DROPPED; });
    if (named && dropped)
      Complain(absl::StrCat("round ", close.round(), " has ", life->name, ", who was told DROPPED"));
    // With a quorum it may be late, but then others were not.
    if (!named && (options_.policy.round_quorum() == 0 || (all_finite && close.ranks_size() == 0))) {
      Complain(absl::StrCat("round ", close.round(), " lacks ", life->name, ", rank ", life->rank));
    }
  }
}

void SimCluster::CheckRounds(std::uint32_t shard, const std::vector<std::vector<float>>& blocks) {
  const std::uint64_t closed = ShardOf(shard).Describe().closed_round();
  std::vector<float> expected(lives_.size());
  for (std::uint64_t round = 0; round < closed; ++round) {
    const auto close = closes_.find(round);
    if (close == closes_.end()) return Complain(absl::StrCat("ps", shard, " closed round ", round, " by itself"));
    const v1::RoundClose& named = close->second.close;
    std::uint64_t divisor = 0;
    for (std::uint32_t rank : named.ranks()) {
      const SimLife* contributor = nullptr;
      for (const auto& life : lives_) {
        const auto push = life->pushes.find(round);
        if (!life->joined || EraOf(life->incarnation) != close->second.era || life->rank != rank ||
            push == life->pushes.end() || push->second.null)
          continue;
        if (contributor != nullptr) return Complain(absl::StrCat("two lives gave to round ", round, ", rank ", rank));
        contributor = life.get();
      }
      if (contributor == nullptr) return Complain(absl::StrCat("nobody gave to round ", round, ", rank ", rank));
      const auto samples = static_cast<double>(1 + rank);  // names, and so ranks, go up with the batches
      divisor += 1 + rank;
      expected[contributor->slot] -= static_cast<float>(samples / static_cast<double>(named.samples()));
    }
    if (divisor != named.samples()) Complain(absl::StrCat("round ", round, " has a wrong divisor"));
    CheckNamed(close->second);
  }
  for (const std::vector<float>& block : blocks) {
    if (std::memcmp(block.data(), expected.data(), expected.size() * sizeof(float)) != 0) {
      Complain(absl::StrCat("ps", shard, " does not hold the sum of its ", closed, " rounds"));
    }
  }
}

}  // namespace leeway
