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
  std::string out = absl::StrFormat("%-*s  %12s  %-10s  %7s  %8s  %4s  %s\n", width, "name", "value", "unit", "ratio",
                                    "goal", "met", "of");
  std::string legend;
  for (const BenchRow& row : rows) {
    const std::string ratio = row.ratio > 0 ? absl::StrFormat("%.3f", row.ratio) : "";
    const std::string goal = row.goal > 0 ? absl::StrFormat("%s %.2f", row.goal_is_most ? "<=" : ">=", row.goal) : "";
    const char* met = row.goal <= 0 ? "" : row.MeetsGoal() ? "yes" : "no";
    out += absl::StrFormat("%-*s  %12.5g  %-10s  %7s  %8s  %4s  %s\n", width, row.name, row.value, row.unit, ratio,
                           goal, met, row.baseline);
    if (!row.what.empty()) legend += absl::StrFormat("%-*s  %s\n", width, row.name, row.what);
  }
  return legend.empty() ? out : out + "\n" + legend;
}

std::string BenchJson(const std::vector<BenchRow>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (const BenchRow& row : rows) {
    list.push_back({{"name", row.name},
                    {"value", row.value},
                    {"unit", row.unit},
                    {"baseline", row.baseline},
                    {"ratio", row.ratio},
                    {"goal", row.goal},
                    {"goal_is_most", row.goal_is_most},
                    {"what", row.what}});
  }
  return list.dump(2) + "\n";
}

}  // namespace leeway
