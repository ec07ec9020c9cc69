// MetricsPage: what /metrics answers (Prometheus' text format), put together at the moment of a scrape.
//
// What is counted lies where it is counted anyway: in atomics, or under a lock that is held for a moment. A scrape asks
// each part of the process to put its values onto a new page. Nothing is registered and nothing is kept, so that hot
// paths know nothing of Prometheus and a scrape that nobody makes costs nothing. prometheus-cpp knows the format; its
// headers stay in metrics.cc. docs/metrics.md lists what all processes tell.
//
// Thread safety: none: a page belongs to one scrape.
// Invariants: a name has one kind and one help text, those of its first call; label values are printable UTF-8 of at
// most kLongestLabel bytes, for they may come from outside, and Prometheus refuses a whole page for one bad byte.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/atomic_histogram.h"

namespace leeway {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

class MetricsPage {
 public:
  static constexpr std::size_t kLongestLabel = 200;
  static constexpr char kContentType[] = "text/plain; version=0.0.4; charset=utf-8";

  // `now`: the wall clock, for Timestamp.
  explicit MetricsPage(absl::Time now = absl::Now());
  ~MetricsPage();

  // What only grows while the process lives; its name ends in _total.
  void Counter(const std::string& name, const std::string& help, double value, const MetricLabels& labels = {});
  void Gauge(const std::string& name, const std::string& help, double value, const MetricLabels& labels = {});
  // A gauge that holds when something happened, `ago`, in Unix seconds.
  void Timestamp(const std::string& name, const std::string& help, absl::Duration ago, const MetricLabels& labels = {});
  // One gauge per name in `all`, with label `label`: 1 for `current`, 0 for the others.
  void State(const std::string& name, const std::string& help, const std::string& label,
             const std::vector<std::string>& all, const std::string& current);
  void Histogram(const std::string& name, const std::string& help, const HistogramCounts& counts,
                 const MetricLabels& labels = {});

  // Families in the order in which they came.
  std::string Text() const;

 private:
  struct Families;
  const absl::Time now_;
  const std::unique_ptr<Families> families_;
};

}  // namespace leeway
