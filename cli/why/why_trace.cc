#include "cli/why/why_trace.h"

#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/why/why_table.h"
#include "common/wait_words.h"

namespace leeway {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kTrainingThread = 1;

// Process ids above 0: some viewers take 0 for "no process".
std::uint64_t PidOf(std::uint32_t worker) { return std::uint64_t{worker} + 1; }

Json Metadata(const char* name, std::uint64_t pid, const std::string& value) {
  return {{"name", name}, {"ph", "M"}, {"pid", pid}, {"tid", kTrainingThread}, {"args", {{"name", value}}}};
}

Json Slice(const v1::GetStatusReply& status, const v1::WorkerWait& told) {
  const v1::Wait& wait = told.wait();
  const auto [reason, call] = ReasonAndCall(wait.kind());
  std::vector<std::string> names;
  for (const std::uint32_t worker : wait.workers()) names.push_back(NameOfWorker(status, worker));
  const bool coordinator = wait.kind() == v1::WAIT_DATA || wait.kind() == v1::WAIT_COMMIT;
  std::string whom = absl::StrJoin(names, ", ");
  if (whom.empty()) whom = coordinator ? "coordinator" : wait.has_shard() ? absl::StrCat("shard ", wait.shard()) : "";
  Json args = {{"call", call}, {"step", wait.clock()}};
  if (wait.has_shard() && !coordinator) args["shard"] = wait.shard();
  if (!names.empty()) args["workers"] = names;
  return {{"name", whom.empty() ? reason : absl::StrCat(reason, ": ", whom)},
          {"cat", reason},
          {"ph", "X"},
          {"ts", wait.begin_micros()},
          {"dur", wait.micros()},
          {"pid", PidOf(told.worker_id())},
          {"tid", kTrainingThread},
          {"args", std::move(args)}};
}

}  // namespace

std::string WhyTrace(const v1::GetStatusReply& status) {
  Json events = Json::array();
  std::map<std::uint32_t, bool> named;
  for (const v1::WorkerWait& wait : status.waits()) {
    if (!named.emplace(wait.worker_id(), true).second) continue;
    const std::uint64_t pid = PidOf(wait.worker_id());
    events.push_back(Metadata("process_name", pid, NameOfWorker(status, wait.worker_id())));
    events.push_back(Metadata("thread_name", pid, "training thread"));
  }
  for (const v1::WorkerWait& wait : status.waits()) events.push_back(Slice(status, wait));
  const Json trace = {
      {"displayTimeUnit", "ms"},
      {"otherData", {{"lost_waits", status.lost_waits()}, {"run_id", absl::StrFormat("%016x", status.run_id())}}},
      {"traceEvents", std::move(events)}};
  return trace.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace leeway
