// SimCluster: what befalls it, and when.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/sim_cluster.h"

namespace leeway {

void SimCluster::FillDisk(std::uint32_t index) {
  if (clock_.Now() < full_until_[index]) return;
  // Short enough that everything which waits for it is answered in time.
  full_until_[index] = clock_.Now() + absl::Seconds(3) * random_.Unit();
  files_[index]->FailAppends(absl::ResourceExhaustedError("no space left"));
  clock_.RunAt(full_until_[index], [this, index] { files_[index]->FailAppends(absl::OkStatus()); });
}

void SimCluster::CutSome() {
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < options_.shards; ++i) names.push_back(absl::StrCat("ps", i));
  for (const auto& worker : workers_) names.push_back(worker->name());
  const std::size_t one = random_.Below(names.size());
  const std::size_t other = (one + 1 + random_.Below(names.size() - 1)) % names.size();
  const Instant until = clock_.Now() + std::min(absl::Seconds(2) * random_.Exponential(1), SimPs::kLease * 3);
  network_.Cut(names[one], names[other], until);
  if (random_.Chance(0.5)) network_.Cut(names[other], names[one], until);
}

void SimCluster::ChangePolicy() {
  v1::SetPolicyRequest request;
  const auto add = [&request](const std::string& name, std::int64_t value) -> v1::PolicySetting& {
    v1::PolicySetting& setting = *request.add_settings();
    setting.set_name(name);
    setting.set_value(absl::StrCat(value));
    return setting;
  };
  // (Who has a pipeline needs a bound.)
  const std::int64_t bounds[] = {-1, options_.trainers ? 2 : 0, 1, 3};
  if (options_.policy.aggregation() == v1::ROUND) {
    add("clip_norm", static_cast<std::int64_t>(person_random_.Between(1, 1000)));  // these workers do not clip
  } else if (options_.policy.dc_lambda() > 0 && person_random_.Chance(0.5)) {
    add("delay_policy", 0).set_value(person_random_.Chance(0.5) ? "dc" : "apply");
  } else if (options_.policy.max_delay() >= 0 && person_random_.Chance(0.5)) {
    v1::PolicySetting& limit =
        add("max_delay", person_random_.Chance(0.4) ? -1 : static_cast<std::int64_t>(person_random_.Between(1, 6)));
    if (limit.value() == "6") limit.set_value("sqrt");
  } else {
    add("staleness_bound", bounds[person_random_.Below(4)]);
  }
  request.set_wait_millis(static_cast<std::uint32_t>(person_random_.Below(3000)));
  AskForPolicy(request, 20);
}

// Again and again until it is so, like somebody who types the same line; not for ever.
void SimCluster::AskForPolicy(const v1::SetPolicyRequest& request, int tries) {
  if (tries == 0) return;
  person_->Call("ps0", "Coordinator/SetPolicy", EncodeMessage(request), absl::Seconds(4),
                [this, request, tries](const absl::Status& status, const Buffer& bytes) {
                  v1::SetPolicyReply reply;
                  if (status.ok() && DecodeMessage(bytes, &reply).ok() && !reply.has_not_yet()) return;
                  if (absl::IsInvalidArgument(status)) return Complain(status.ToString());
                  clock_.RunAt(clock_.Now() + absl::Milliseconds(200),
                               [this, request, tries] { AskForPolicy(request, tries - 1); });
                });
}

void SimCluster::Script() {
  const auto at_random = [this](std::function<void(SimMember*)> act) {
    SimMember* const worker = workers_[random_.Below(workers_.size())].get();
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5), [act, worker] { act(worker); });
  };
  for (int i = 0; i < options_.deaths; ++i) {
    at_random([this](SimMember* worker) {
      if (!worker->joined()) return;
      worker->Kill();
      BringBack(worker);
    });
  }
  for (int i = 0; i < options_.cuts; ++i) {
    const std::string name = absl::StrCat("w", random_.Below(workers_.size()));
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5),
                 [this, name] { network_.Cut(name, "", clock_.Now() + SimPs::kLease * 1.5); });
  }
  for (int i = 0; i < options_.partitions; ++i) {
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5), [this] { CutSome(); });
  }
  for (int i = 0; i < options_.full_disks; ++i) {
    const auto index = static_cast<std::uint32_t>(random_.Below(options_.shards));
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5), [this, index] { FillDisk(index); });
  }
  for (int i = 0; i < options_.ps_deaths; ++i) {
    const auto index = static_cast<std::uint32_t>(random_.Below(options_.shards));
    const bool on_file = random_.Chance(0.5) && options_.journal;
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5), [this, index, on_file] {
      CrashFiles& files = *files_[index];
      if (on_file) return files.CrashAt(files.operations() + 1 + random_.Below(8));
      KillPs(index);
    });
  }
  for (int i = 0; i < options_.damages; ++i) {
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5),
                 [this] { DamageJournal(static_cast<std::uint32_t>(random_.Below(options_.shards))); });
  }
  for (int i = 0; i < options_.reshards; ++i) {
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * random_.Exponential(1.5), [this] { Reshard(); });
  }
  for (int i = 0; i < options_.policy_changes; ++i) {
    clock_.RunAt(clock_.Now() + absl::Seconds(1) * person_random_.Exponential(1.5), [this] { ChangePolicy(); });
  }
  for (int i = 0; i < options_.preemptions; ++i) {
    at_random([this](SimMember* worker) {
      if (!worker->joined()) return;
      worker->Preempt();
      BringBack(worker);
    });
  }
}

}  // namespace leeway
