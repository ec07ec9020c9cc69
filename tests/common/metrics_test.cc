#include "common/metrics.h"

#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "common/process_metrics.h"
#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("a page is Prometheus' text format") {
  MetricsPage page(absl::FromUnixSeconds(1700000000));
  page.Counter("ps_pushes_total", "pushes", 3, {{"verdict", "applied"}});
  page.Gauge("ps_inflight_bytes", "bytes", 1.5);
  page.Counter("ps_pushes_total", "pushes", 4, {{"verdict", "refused"}});
  page.Timestamp("ps_seen_timestamp_seconds", "when", absl::Seconds(10));
  page.State("ps_run_state", "state", "state", {"starting", "training"}, "training");
  page.Histogram("ps_push_duration_seconds", "time", {{0.5, 2}, {1, 2, 4}, 30.5});
  CHECK(page.Text() == R"(# HELP ps_pushes_total pushes
# TYPE ps_pushes_total counter
ps_pushes_total{verdict="applied"} 3
ps_pushes_total{verdict="refused"} 4
# HELP ps_inflight_bytes bytes
# TYPE ps_inflight_bytes gauge
ps_inflight_bytes 1.5
# HELP ps_seen_timestamp_seconds when
# TYPE ps_seen_timestamp_seconds gauge
ps_seen_timestamp_seconds 1699999990
# HELP ps_run_state state
# TYPE ps_run_state gauge
ps_run_state{state="starting"} 0
ps_run_state{state="training"} 1
# HELP ps_push_duration_seconds time
# TYPE ps_push_duration_seconds histogram
ps_push_duration_seconds_count 7
ps_push_duration_seconds_sum 30.5
ps_push_duration_seconds_bucket{le="0.5"} 1
ps_push_duration_seconds_bucket{le="2"} 3
ps_push_duration_seconds_bucket{le="+Inf"} 7
)");
}

TEST_CASE("label values from outside cannot break a page") {
  MetricsPage page;
  page.Gauge("ps_worker_clock", "clock", 1, {{"worker", "a\"b\\c\nd\xff"}});
  page.Gauge("ps_worker_clock", "clock", 2, {{"worker", std::string(1000, 'x')}});
  const std::string text = page.Text();
  CHECK(absl::StrContains(text, "ps_worker_clock{worker=\"a\\\"b\\\\c\xef\xbf\xbd\x64\xef\xbf\xbd\"} 1\n"));
  CHECK(absl::StrContains(text, "{worker=\"" + std::string(MetricsPage::kLongestLabel, 'x') + "\"} 2\n"));
}

TEST_CASE("numbers that are none are written as Prometheus reads them") {
  MetricsPage page;
  page.Gauge("a", "a", std::numeric_limits<double>::quiet_NaN());
  page.Gauge("b", "b", -std::numeric_limits<double>::infinity());
  page.Counter("c", "c", 9007199254740992.0);
  const std::string text = page.Text();
  CHECK(absl::StrContains(absl::AsciiStrToLower(text), "\na nan\n"));
  CHECK(absl::StrContains(text, "\nb -Inf\n"));
  CHECK(absl::StrContains(text, "\nc 9007199254740992\n"));
}

TEST_CASE("a histogram's bounds belong to their buckets") {
  AtomicHistogram histogram({1, 2});
  for (const double value : {0.5, 1.0, 1.5, 2.0, 2.5, -1.0}) histogram.Observe(value);
  const HistogramCounts counts = histogram.Counts();
  CHECK(counts.counts == std::vector<std::uint64_t>{3, 2, 1});
  CHECK(counts.sum == 6.5);
}

TEST_CASE("observations of many threads all count") {
  AtomicHistogram histogram(SecondsBounds());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&histogram] {
      for (int k = 0; k < 10000; ++k) histogram.Observe(0.5);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::uint64_t total = 0;
  for (const std::uint64_t count : histogram.Counts().counts) total += count;
  CHECK(total == 40000);
  CHECK(histogram.Counts().sum == 20000);
}

TEST_CASE("a process tells of itself") {
  MetricsPage page;
  AddProcessMetrics("ps", &page);
  const std::string text = page.Text();
  for (const char* name :
       {"ps_build_info{version=\"", "process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_threads ",
        "process_open_fds ", "process_max_fds ", "process_start_time_seconds 1"}) {
    INFO(name);
    CHECK(absl::StrContains(text, name));
  }
}

}  // namespace
}  // namespace leeway
