// AtomicHistogram: how often values fell into each bucket, for durations that hot paths measure.
//
// Thread safety: every method, from any thread. Observe touches two atomics and takes no lock; Counts may see a value's
// count and not yet its part of the sum.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace leeway {

// Of any histogram, at one moment.
struct HistogramCounts {
  std::vector<double> bounds;         // the buckets' upper ends, which belong to them; ascending
  std::vector<std::uint64_t> counts;  // of each bucket alone; one more than bounds: what is above them all
  double sum = 0;
};

// From 100 microseconds, what a small request takes, to a minute: about four buckets per power of ten.
inline std::vector<double> SecondsBounds() {
  return {1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
}

class AtomicHistogram {
 public:
  explicit AtomicHistogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

  void Observe(double value) {
    const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
    counts_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }

  HistogramCounts Counts() const {
    HistogramCounts out{bounds_, {}, sum_.load(std::memory_order_relaxed)};
    for (const std::atomic<std::uint64_t>& count : counts_) {
      out.counts.push_back(count.load(std::memory_order_relaxed));
    }
    return out;
  }

 private:
  const std::vector<double> bounds_;
  std::vector<std::atomic<std::uint64_t>> counts_;
  std::atomic<double> sum_ = 0;
};

}  // namespace leeway
