#include "worker/client/describe_wait.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/utf8.h"
#include "common/wait_words.h"

namespace leeway {

std::vector<v1::WaitUnderWay> DescribeWait(Caller& caller, v1::WaitKind kind, Instant from,
                                           std::optional<std::uint64_t> clock,
                                           const std::vector<MissingAnswer>& missing) {
  v1::WaitUnderWay common;
  common.set_millis(
      static_cast<std::uint64_t>(std::max<std::int64_t>(absl::ToInt64Milliseconds(caller.Now() - from), 0)));
  if (clock) common.set_clock(*clock);
  // `heard`: of it, meanwhile. What failed before that is not why the wait lasts.
  const auto waits_for = [&](v1::WaitKind kind, Target target, Instant heard = {}) {
    v1::WaitUnderWay wait = common;
    wait.set_kind(kind);
    wait.set_shard(target == kCoordinator ? 0 : static_cast<std::uint32_t>(target));
    wait.set_address(caller.Address(target));
    const Caller::Trouble trouble = caller.LastTrouble(target);
    if (!trouble.status.ok() && trouble.at >= std::max(from, heard)) {
      wait.set_error(
          PrintableUtf8(trouble.status.ToString(absl::StatusToStringMode::kWithNoExtraData), kLongestReason));
    }
    return wait;
  };
  if (kind == v1::WAIT_DATA || kind == v1::WAIT_COMMIT || kind == v1::WAIT_TICKET) {
    return {waits_for(kind, kCoordinator)};
  }
  std::vector<v1::WaitUnderWay> unreached, silent;
  std::map<std::uint32_t, std::uint64_t> at_gate;  // whom it waits for there, and their clocks
  for (const MissingAnswer& answer : missing) {
    v1::WaitUnderWay wait = waits_for(kind, static_cast<Target>(answer.shard), answer.heard);
    if (!wait.error().empty()) {
      unreached.push_back(std::move(wait));
    } else if (!answer.waits_for.empty()) {
      for (const v1::Waiting& on : answer.waits_for) at_gate[on.worker_id()] = on.clock();
    } else {
      wait.set_reason(PrintableUtf8(answer.reason, kLongestReason));
      silent.push_back(std::move(wait));
    }
  }
  std::vector<v1::WaitUnderWay> waits = std::move(unreached);
  waits.insert(waits.end(), silent.begin(), silent.end());
  if (!at_gate.empty()) {
    v1::WaitUnderWay& gate = waits.emplace_back(common);
    gate.set_kind(v1::WAIT_GATE);
    for (auto it = at_gate.begin(); it != at_gate.end() && gate.on_size() < kMostWaitedFor; ++it) {
      v1::Waiting& on = *gate.add_on();
      on.set_worker_id(it->first);
      on.set_clock(it->second);
    }
  }
  if (waits.empty()) waits.emplace_back(common).set_kind(kind);
  if (waits.size() > kMostWaits) waits.resize(kMostWaits);
  return waits;
}

std::string InWords(const std::vector<v1::WaitUnderWay>& waits) {
  return absl::StrJoin(waits, "; ", [](std::string* text, const v1::WaitUnderWay& wait) {
    absl::StrAppend(text, Whom(wait, WorkerNumber), ": ", WhyItLasts(wait));
  });
}

}  // namespace leeway
