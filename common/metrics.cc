#include "common/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <cstdint>
#include <limits>
#include <map>

#include "common/utf8.h"

namespace leeway {

struct MetricsPage::Families {
  std::vector<prometheus::MetricFamily> list;
  std::map<std::string, std::size_t> index;  // by name

  prometheus::ClientMetric& Add(const std::string& name, const std::string& help, prometheus::MetricType type,
                                const MetricLabels& labels) {
    const auto [it, is_new] = index.emplace(name, list.size());
    if (is_new) list.push_back({name, help, type, {}});
    prometheus::ClientMetric& metric = list[it->second].metric.emplace_back();
    for (const auto& [label, value] : labels) {
      metric.label.push_back({label, PrintableUtf8(value, kLongestLabel)});
    }
    return metric;
  }
};

MetricsPage::MetricsPage(absl::Time now) : now_(now), families_(std::make_unique<Families>()) {}
MetricsPage::~MetricsPage() = default;

void MetricsPage::Counter(const std::string& name, const std::string& help, double value, const MetricLabels& labels) {
  families_->Add(name, help, prometheus::MetricType::Counter, labels).counter.value = value;
}

void MetricsPage::Gauge(const std::string& name, const std::string& help, double value, const MetricLabels& labels) {
  families_->Add(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
}

void MetricsPage::Timestamp(const std::string& name, const std::string& help, absl::Duration ago,
                            const MetricLabels& labels) {
  Gauge(name, help, absl::ToDoubleSeconds(now_ - ago - absl::UnixEpoch()), labels);
}

void MetricsPage::State(const std::string& name, const std::string& help, const std::string& label,
                        const std::vector<std::string>& all, const std::string& current) {
  for (const std::string& state : all) Gauge(name, help, state == current ? 1 : 0, {{label, state}});
}

void MetricsPage::Histogram(const std::string& name, const std::string& help, const HistogramCounts& counts,
                            const MetricLabels& labels) {
  prometheus::ClientMetric::Histogram& out =
      families_->Add(name, help, prometheus::MetricType::Histogram, labels).histogram;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < counts.counts.size(); ++i) {
    total += counts.counts[i];
    const bool above = i >= counts.bounds.size();
    out.bucket.push_back({total, above ? std::numeric_limits<double>::infinity() : counts.bounds[i]});
  }
  out.sample_count = total;
  out.sample_sum = counts.sum;
}

std::string MetricsPage::Text() const { return prometheus::TextSerializer().Serialize(families_->list); }

}  // namespace leeway
