// BenchRow: one measured figure, next to the baseline that gives it meaning; as a table or as JSON.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

namespace leeway {

struct BenchRow {
  std::string name;  // what it isolates: "train.one_worker_one_ps"
  double value = 0;
  std::string unit;
  std::string baseline;  // the name of the row it is compared with; "": it is a baseline itself
  double ratio = 0;      // to the baseline, median of pairs; 0: none
  double goal = 0;       // the least ratio aimed at; 0: none
};

double Median(std::vector<double> values);  // of at least one

std::string BenchTable(const std::vector<BenchRow>& rows);
std::string BenchJson(const std::vector<BenchRow>& rows);  // a list of {name, value, unit, baseline, ratio, goal}

}  // namespace leeway
