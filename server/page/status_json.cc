#include "server/page/status_json.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/wait_words.h"
#include "server/delay_policy.h"

namespace leeway {
namespace {

using nlohmann::json;

// Six significant digits; null where there is no number.
json Number(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == 0) return 0;
  const double unit = std::pow(10, std::floor(std::log10(std::abs(value))) - 5);
  const double rounded = unit < 1 ? std::round(value / unit) / std::round(1 / unit) : std::round(value / unit) * unit;
  return std::isfinite(rounded) ? rounded : value;
}

bool IsMember(const v1::WorkerStatus& worker) {
  return worker.state() == "live" || worker.state() == "parked" || worker.state() == "joining" ||
         worker.state() == "observer";
}

// Of the trainers that the others wait for.
struct Clocks {
  std::uint64_t slowest = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t fastest = 0;
  bool any = false;
};

Clocks ClocksOf(const v1::GetStatusReply& status) {
  Clocks clocks;
  for (const v1::WorkerStatus& worker : status.workers()) {
    if (worker.state() != "live" || worker.role() != v1::TRAINER) continue;
    clocks.slowest = std::min(clocks.slowest, worker.clock());
    clocks.fastest = std::max(clocks.fastest, worker.clock());
    clocks.any = true;
  }
  return clocks;
}

// There may be thousands, every second: written as text, at a fifth of what a json object would cost.
// `wait`: what it waits for at this moment, "" for nothing.
void AddWorker(const v1::WorkerStatus& worker, const Clocks& clocks, std::int64_t bound, const std::string& wait,
               std::string* text) {
  const bool races = worker.state() == "live" && worker.role() == v1::TRAINER;
  // Its next pull is of this clock, and is held until the slowest has come up.
  const bool at_gate = races && bound >= 0 && worker.clock() - clocks.slowest > static_cast<std::uint64_t>(bound);
  const v1::Progress& progress = worker.progress();
  // StrCat writes a double with six digits.
  const auto number = [](double value) { return std::isfinite(value) ? absl::StrCat(value) : "null"; };
  absl::StrAppend(text, "{\"id\":", worker.worker_id(), ",\"name\":", JsonString(worker.name()), ",\"role\":\"",
                  worker.role() == v1::TRAINER ? "trainer" : "evaluator", "\",\"rank\":", worker.rank(),
                  ",\"state\":", JsonString(worker.state()), ",\"reason\":", JsonString(worker.reason()));
  absl::StrAppend(text, ",\"clock\":", worker.clock(), ",\"at_gate\":", at_gate ? "true" : "false",
                  ",\"waiting_share\":", number(worker.waiting_share()),
                  ",\"waits_for\":", static_cast<std::int64_t>(worker.waits_for()) - 1,
                  ",\"silent_seconds\":", number(worker.silent_seconds()));
  absl::StrAppend(text, ",\"samples\":", progress.samples(),
                  ",\"samples_per_second\":", number(worker.samples_per_second()),
                  ",\"loss\":", number(worker.recent_loss()),
                  ",\"refused\":", progress.pushes_refused() + progress.pushes_dropped() + progress.pushes_partial(),
                  ",\"device\":", JsonString(progress.device()), ",\"wait\":", JsonString(wait), "}");
}

std::string Workers(const v1::GetStatusReply& status, const Clocks& clocks) {
  std::vector<const v1::WorkerStatus*> workers;
  for (const v1::WorkerStatus& worker : status.workers()) workers.push_back(&worker);
  // Members first; of the others, those that came last: ids grow.
  std::stable_sort(workers.begin(), workers.end(), [](const auto* a, const auto* b) {
    if (IsMember(*a) != IsMember(*b)) return IsMember(*a);
    return IsMember(*a) ? a->rank() < b->rank() : a->worker_id() > b->worker_id();
  });
  if (workers.size() > kMostPageWorkers) workers.resize(kMostPageWorkers);
  std::map<std::uint32_t, std::string> names;
  for (const v1::WorkerStatus& worker : status.workers()) names[worker.worker_id()] = worker.name();
  std::string list = "[";
  for (const v1::WorkerStatus* worker : workers) {
    const auto name_of = [&names, waiter = worker->worker_id()](std::uint32_t id) {
      if (id == waiter) return std::string(kItsOwnPush);
      const auto it = names.find(id);
      return it == names.end() ? WorkerNumber(id) : it->second;
    };
    if (list.size() > 1) list += ',';
    const std::string wait = worker->waits_under_way().empty() ? "" : WaitWords(worker->waits_under_way(0), name_of);
    AddWorker(*worker, clocks, status.policy().staleness_bound(), wait, &list);
  }
  return list + "]";
}

json Shards(const v1::GetStatusReply& status) {
  json list = json::array();
  for (const v1::ShardStatus& shard : status.shards()) {
    const v1::ShardStats& stats = shard.stats();
    list.push_back({{"index", shard.index()},
                    {"address", shard.address()},
                    {"connected", shard.connected()},
                    {"blocks", shard.num_blocks()},
                    {"version", stats.version()},
                    {"applied", stats.pushes_applied()},
                    {"refused", stats.pushes_refused()},
                    {"dropped", stats.pushes_dropped()},
                    {"partial", stats.pushes_partial()},
                    {"nonfinite", stats.chunks_nonfinite()},
                    {"push_bytes", stats.push_bytes()},
                    {"pull_bytes", stats.pull_bytes()},
                    {"push_rate", Number(shard.push_bytes_per_second())},
                    {"pull_rate", Number(shard.pull_bytes_per_second())},
                    {"held_bytes", stats.held_bytes()}});
  }
  return list;
}

// Of all shards together.
json HistogramJson(const v1::GetStatusReply& status, const v1::Histogram& (v1::ShardStats::*of)() const) {
  std::vector<std::uint64_t> counts;
  double sum = 0;
  std::uint64_t total = 0;
  std::uint64_t max = 0;
  for (const v1::ShardStatus& shard : status.shards()) {
    const v1::Histogram& histogram = (shard.stats().*of)();
    const auto size = static_cast<std::size_t>(histogram.counts_size());
    if (counts.size() < size) counts.resize(size);
    for (std::size_t i = 0; i < size; ++i) {
      counts[i] += histogram.counts(static_cast<int>(i));
      total += histogram.counts(static_cast<int>(i));
    }
    sum += histogram.sum();
    max = std::max(max, histogram.max());
  }
  // (Nothing was counted: 0 / 0, which is null.)
  return {{"counts", counts}, {"max", max}, {"mean", Number(sum / static_cast<double>(total))}};
}

// Which of `size` points a curve shows: all, or evenly spread ones and the last.
std::vector<int> Picked(int size) {
  std::vector<int> picked;
  const int step = std::max(1, (size + static_cast<int>(kMostPagePoints) - 1) / static_cast<int>(kMostPagePoints));
  for (int i = size - 1; i >= 0; i -= step) picked.push_back(i);
  std::reverse(picked.begin(), picked.end());
  return picked;
}

// {"NAME": [values of `get` of the picked points], ...}
template <typename Points, typename... Getters>
json Columns(const Points& points, const std::pair<const char*, Getters>&... columns) {
  json result = json::object();
  const std::vector<int> picked = Picked(points.size());
  const auto add = [&](const char* name, auto get) {
    json values = json::array();
    for (const int i : picked) values.push_back(Number(static_cast<double>((points.Get(i).*get)())));
    result[name] = std::move(values);
  };
  (add(columns.first, columns.second), ...);
  return result;
}

// An event is "12.3 text" (StatusBoard::AddEvent).
json Events(const v1::GetStatusReply& status) {
  json list = json::array();
  for (const std::string& event : status.events()) {
    const std::size_t space = event.find(' ');
    double seconds = 0;
    const bool timed = space != std::string::npos && absl::SimpleAtod(event.substr(0, space), &seconds);
    list.push_back({{"seconds", Number(seconds)}, {"text", timed ? event.substr(space + 1) : event}});
  }
  return list;
}

json Checkpoints(const v1::GetStatusReply& status) {
  json list = json::array();
  for (const v1::CheckpointStatus& checkpoint : status.checkpoints()) {
    list.push_back({{"name", checkpoint.name()},
                    {"seconds", Number(checkpoint.seconds())},
                    {"duration", Number(checkpoint.duration())},
                    {"steps", checkpoint.steps()},
                    {"bytes", checkpoint.bytes()},
                    {"error", checkpoint.error()}});
  }
  return list;
}

json PolicyJson(const v1::GetStatusReply& status) {
  const v1::Policy& policy = status.policy();
  const auto limit = static_cast<std::int64_t>(status.delay_limit());  // of now, also where it grows
  return {{"staleness_bound", policy.staleness_bound()},
          {"aggregation", policy.aggregation() == v1::ROUND ? "round" : "each"},
          {"round_quorum", policy.round_quorum()},
          {"max_delay", limit > 0 ? limit : -1},
          {"delay_policy", DelayPolicyText(policy)},
          {"num_workers", policy.num_workers()}};
}

}  // namespace

std::string StatusJson(const v1::GetStatusReply& status) {
  const Clocks clocks = ClocksOf(status);
  json page = {{"state", v1::RunState_Name(status.state())},
               {"waiting_for", status.waiting_for()},
               {"stop_reason", status.stop_reason()},
               {"run_id", absl::StrCat(absl::Hex(status.run_id(), absl::kZeroPad16))},
               {"model", status.model()},
               {"elements", status.elements()},
               {"seconds", Number(status.seconds())},
               {"samples", status.samples()},
               {"steps", status.steps()},
               {"num_records", status.num_records()},
               {"total_samples", status.total_samples()},
               {"samples_per_second", Number(status.samples_per_second())},
               {"era", status.era()},
               {"policy", PolicyJson(status)},
               {"shards", Shards(status)},
               {"gap", HistogramJson(status, &v1::ShardStats::gap)},
               {"delay", HistogramJson(status, &v1::ShardStats::delay)},
               {"events", Events(status)},
               {"checkpoints", Checkpoints(status)},
               {"checkpoint_under_way", status.checkpoint_under_way()}};
  page["slowest"] = clocks.any ? json(clocks.slowest) : json(nullptr);
  page["fastest"] = clocks.any ? json(clocks.fastest) : json(nullptr);
  page["training"] = Columns(status.training(), std::pair("seconds", &v1::LossPoint::seconds),
                             std::pair("samples", &v1::LossPoint::samples), std::pair("loss", &v1::LossPoint::loss),
                             std::pair("accuracy", &v1::LossPoint::accuracy));
  page["evaluations"] =
      Columns(status.evaluations(), std::pair("seconds", &v1::Evaluation::seconds),
              std::pair("samples", &v1::Evaluation::samples), std::pair("loss", &v1::Evaluation::loss),
              std::pair("accuracy", &v1::Evaluation::accuracy), std::pair("final", &v1::Evaluation::final));
  page["rates"] = Columns(
      status.rates(), std::pair("seconds", &v1::RatePoint::seconds), std::pair("samples", &v1::RatePoint::samples),
      std::pair("push_bytes", &v1::RatePoint::push_bytes), std::pair("pull_bytes", &v1::RatePoint::pull_bytes));
  // What is no UTF-8 becomes U+FFFD: an error would cost the page all the rest.
  std::string text = page.dump(-1, ' ', false, json::error_handler_t::replace);
  text.back() = ',';
  return absl::StrCat(text, "\"workers\":", Workers(status, clocks), "}");
}

}  // namespace leeway
