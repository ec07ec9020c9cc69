#include "cli/bench/bench_row.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"

namespace leeway {

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

std::string BenchTable(const std::vector<BenchRow>& rows) {
  std::size_t width = 4;
  for (const BenchRow& row : rows) width = std::max(width, row.name.size());
  std::string out =
      absl::StrFormat("%-*s  %14s  %-12s  %7s  %6s  %s\n", width, "name", "value", "unit", "ratio", "goal", "of");
  for (const BenchRow& row : rows) {
    const std::string ratio = row.ratio > 0 ? absl::StrFormat("%.3f", row.ratio) : "";
    const std::string goal = row.goal > 0 ? absl::StrFormat("%.2f", row.goal) : "";
    out += absl::StrFormat("%-*s  %14.6g  %-12s  %7s  %6s  %s\n", width, row.name, row.value, row.unit, ratio, goal,
                           row.baseline);
  }
  return out;
}

std::string BenchJson(const std::vector<BenchRow>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (const BenchRow& row : rows) {
    list.push_back({{"name", row.name},
                    {"value", row.value},
                    {"unit", row.unit},
                    {"baseline", row.baseline},
                    {"ratio", row.ratio},
                    {"goal", row.goal}});
  }
  return list.dump(2) + "\n";
}

}  // namespace leeway
