#include "common/wait_words.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace leeway {

std::pair<std::string, std::string> ReasonAndCall(v1::WaitKind kind) {
  switch (kind) {
    case v1::WAIT_GATE:
      return {"gate", "Pull"};
    case v1::WAIT_PULL:
      return {"weights on their way", "Pull"};
    case v1::WAIT_PUSH:
      return {"verdict", "Push"};
    case v1::WAIT_JOURNAL:
      return {"journal", "Push"};
    case v1::WAIT_NO_ROOM:
      return {"no room", "Push or Pull"};
    case v1::WAIT_UNREACHABLE:
      return {"no answer", "Push or Pull"};
    case v1::WAIT_DATA:
      return {"records", "AcquireData"};
    case v1::WAIT_COMMIT:
      return {"commits", "CommitData"};
    case v1::WAIT_TICKET:
      return {"ticket", "OpenPush"};
    default:
      return {absl::StrCat("kind ", static_cast<int>(kind)), "?"};  // of a newer version
  }
}

std::pair<std::string, std::string> ReasonAndCall(const v1::WaitUnderWay& wait) {
  auto [reason, call] = ReasonAndCall(wait.kind());
  if (absl::StartsWith(wait.error(), "RESOURCE_EXHAUSTED")) return {"no room", call};
  if (!wait.error().empty()) return {"no answer", call};
  if (!wait.reason().empty()) return {"not yet", call};
  return {reason, call};
}

std::string WorkerNumber(std::uint32_t worker_id) { return absl::StrCat("worker ", worker_id); }

std::string Whom(const v1::WaitUnderWay& wait, const WorkerNames& name_of) {
  std::vector<std::string> names;
  for (const v1::Waiting& on : wait.on()) {
    names.push_back(absl::StrCat(name_of(on.worker_id()), " at clock ", on.clock()));
  }
  if (!names.empty()) return absl::StrJoin(names, ", ");
  if (!wait.has_shard()) return "a ps";
  return absl::StrCat("ps ", wait.shard(), wait.address().empty() ? "" : " at ", wait.address());
}

std::string WhyItLasts(const v1::WaitUnderWay& wait) {
  const auto [reason, call] = ReasonAndCall(wait);
  std::string text = absl::StrCat(reason, ", ", call);
  if (wait.has_clock()) absl::StrAppend(&text, " of step ", wait.clock());
  const std::string& said = wait.error().empty() ? wait.reason() : wait.error();
  return said.empty() ? text : absl::StrCat(text, "; ", said);
}

std::string WaitWords(const v1::WaitUnderWay& wait, const WorkerNames& name_of) {
  return absl::StrCat(Whom(wait, name_of), ", ", wait.millis() / 1000, " s: ", WhyItLasts(wait));
}

}  // namespace leeway
