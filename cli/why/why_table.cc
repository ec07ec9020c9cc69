#include "cli/why/why_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/report/format.h"
#include "cli/report/proto_json.h"
#include "cli/text_table.h"
#include "common/wait_words.h"

namespace leeway {
namespace {

// Rows that together are less than this share of a worker's time are summed up in one.
constexpr double kLeastShare = 0.01;

std::string WaitedFor(const v1::GetStatusReply& status, std::uint32_t waiter, const v1::WaitTotal& wait) {
  if (wait.kind() == v1::WAIT_DATA || wait.kind() == v1::WAIT_COMMIT || wait.kind() == v1::WAIT_TICKET) {
    return "the coordinator";
  }
  // Its pull must contain its own earlier pushes.
  if (wait.has_worker() && wait.worker() == waiter) return kItsOwnPush;
  if (wait.has_worker()) return NameOfWorker(status, wait.worker());
  if (wait.has_shard()) return absl::StrCat("shard ", wait.shard());
  return wait.kind() == v1::WAIT_GATE ? "other workers" : "a shard";
}

}  // namespace

double TimeOf(const v1::PhaseSeconds& phases) {
  return phases.data() + phases.pull() + phases.compute() + phases.push() + phases.blocked() + phases.paced();
}

std::string NameOfWorker(const v1::GetStatusReply& status, std::uint32_t id) {
  for (const v1::WorkerStatus& worker : status.workers()) {
    if (worker.worker_id() == id && !worker.name().empty()) return worker.name();
  }
  return WorkerNumber(id);
}

std::vector<WhyRow> WhyRows(const v1::GetStatusReply& status) {
  std::vector<std::pair<double, std::vector<WhyRow>>> workers;  // by how long each has waited
  for (const v1::WorkerStatus& worker : status.workers()) {
    const double time = TimeOf(worker.progress().seconds());
    auto& [waited, rows] = workers.emplace_back();
    for (const v1::WaitTotal& wait : worker.progress().waits()) {
      const auto [reason, call] = ReasonAndCall(wait.kind());
      rows.push_back({NameOfWorker(status, worker.worker_id()), WaitedFor(status, worker.worker_id(), wait), reason,
                      call, wait.seconds(), time > 0 ? wait.seconds() / time : 0, wait.count()});
      waited += wait.seconds();
    }
    std::stable_sort(rows.begin(), rows.end(), [](const WhyRow& a, const WhyRow& b) { return a.seconds > b.seconds; });
  }
  std::stable_sort(workers.begin(), workers.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<WhyRow> all;
  for (auto& [waited, rows] : workers) all.insert(all.end(), rows.begin(), rows.end());
  return all;
}

std::string WhyText(const v1::GetStatusReply& status) {
  const std::vector<WhyRow> rows = WhyRows(status);
  if (rows.empty()) return "nobody has waited for anybody yet\n";
  std::optional<WhyRow> small;  // of the waiter whose rows these are: the sum of what is hardly worth a row
  std::vector<WhyRow> shown;
  for (const WhyRow& row : rows) {
    if (row.share >= kLeastShare) {
      shown.push_back(row);
    } else {
      if (!small) small = WhyRow{row.waiter, "others", "", ""};
      small->seconds += row.seconds;
      small->share += row.share;
      small->count += row.count;
    }
    const bool last = &row == &rows.back() || (&row + 1)->waiter != row.waiter;
    if (last && small) shown.push_back(*std::exchange(small, std::nullopt));
  }
  std::size_t waiter = 6, waited_for = 10, reason = 3, call = 4;
  for (const WhyRow& row : shown) {
    waiter = std::max(waiter, row.waiter.size());
    waited_for = std::max(waited_for, row.waited_for.size());
    reason = std::max(reason, row.reason.size());
    call = std::max(call, row.call.size());
  }
  const auto line = [&](const WhyRow& row, const std::string& seconds, const std::string& share,
                        const std::string& count) {
    return absl::StrFormat("%-*s  %-*s  %-*s  %-*s  %9s  %7s  %7s\n", static_cast<int>(waiter), Printable(row.waiter),
                           static_cast<int>(waited_for), Printable(row.waited_for), static_cast<int>(reason),
                           row.reason, static_cast<int>(call), row.call, seconds, share, count);
  };
  std::string text = line({"waiter", "waited for", "why", "call"}, "seconds", "share", "times");
  for (const WhyRow& row : shown) {
    absl::StrAppend(&text, line(row, FormatFixed(row.seconds, 2), FormatPercent(row.share, 1), FormatCount(row.count)));
  }
  return text + "share: of the waiter's time since it joined\n";
}

namespace {

// As a row, of one wait; its share is not known yet.
nlohmann::ordered_json UnderWayJson(const v1::GetStatusReply& status, std::uint32_t waiter,
                                    const v1::WaitUnderWay& wait) {
  v1::WaitTotal like;
  like.set_kind(wait.kind());
  if (wait.has_shard()) like.set_shard(wait.shard());
  if (!wait.on().empty()) like.set_worker(wait.on(0).worker_id());
  const auto [reason, call] = ReasonAndCall(wait);
  return {{"waiter", NameOfWorker(status, waiter)},
          {"waited_for", WaitedFor(status, waiter, like)},
          {"reason", reason},
          {"call", call},
          {"seconds", static_cast<double>(wait.millis()) / 1000},
          {"share", nullptr},
          {"count", 1},
          {"under_way", true},
          {"address", wait.address()},
          {"error", wait.error()}};
}

}  // namespace

std::string WhyJson(const v1::GetStatusReply& status) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const WhyRow& row : WhyRows(status)) {
    list.push_back({{"waiter", row.waiter},
                    {"waited_for", row.waited_for},
                    {"reason", row.reason},
                    {"call", row.call},
                    {"seconds", JsonNumber(row.seconds)},
                    {"share", JsonNumber(row.share)},
                    {"count", row.count},
                    {"under_way", false}});
  }
  for (const v1::WorkerStatus& worker : status.workers()) {
    for (const v1::WaitUnderWay& wait : worker.waits_under_way()) {
      list.push_back(UnderWayJson(status, worker.worker_id(), wait));
    }
  }
  return list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace leeway
