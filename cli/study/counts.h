// Counts: how often each whole number occurred, without an upper limit: delays, gaps.
//
// Thread safety: none.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>

namespace leeway {

class Counts {
 public:
  void Add(std::uint64_t value) {
    ++counts_[value];
    ++total_;
    sum_ += static_cast<double>(value);
  }

  const std::map<std::uint64_t, std::uint64_t>& counts() const { return counts_; }
  double Mean() const { return total_ == 0 ? 0 : sum_ / static_cast<double>(total_); }
  std::uint64_t Max() const { return counts_.empty() ? 0 : counts_.rbegin()->first; }

  // The smallest value that at least this share of all are not above; 0 without any.
  std::uint64_t Quantile(double share) const {
    auto left = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total_)));
    for (const auto& [value, count] : counts_) {
      if (left <= count) return value;
      left -= count;
    }
    return Max();
  }

 private:
  std::map<std::uint64_t, std::uint64_t> counts_;
  std::uint64_t total_ = 0;
  double sum_ = 0;
};

}  // namespace leeway
