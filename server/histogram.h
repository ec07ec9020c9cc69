// LinearHistogram: how often each small whole number occurred: gaps, delays.
//
// Thread safety: none; guarded by its owner.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "proto/coordinator.pb.h"

namespace leeway {

class LinearHistogram {
 public:
  static constexpr std::uint64_t kBuckets = 256;  // the last one holds everything above

  void Add(std::uint64_t value) {
    const std::uint64_t bucket = std::min(value, kBuckets - 1);
    if (counts_.size() <= bucket) counts_.resize(bucket + 1);
    ++counts_[bucket];
    sum_ += static_cast<double>(value);
    max_ = std::max(max_, value);
  }

  static LinearHistogram FromProto(const v1::Histogram& saved) {
    LinearHistogram histogram;
    histogram.counts_.assign(saved.counts().begin(), saved.counts().end());
    histogram.counts_.resize(std::min<std::size_t>(histogram.counts_.size(), kBuckets));
    histogram.sum_ = saved.sum();
    histogram.max_ = saved.max();
    return histogram;
  }

  v1::Histogram ToProto() const {
    v1::Histogram out;
    out.mutable_counts()->Assign(counts_.begin(), counts_.end());
    out.set_sum(sum_);
    out.set_max(max_);
    return out;
  }

 private:
  std::vector<std::uint64_t> counts_;
  double sum_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace leeway
