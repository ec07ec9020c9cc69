// BenchRow: one measured figure, next to the baseline that gives it meaning; as a table or as JSON.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

namespace leeway {

struct BenchRow {
  std::string name;  // "train.one_worker_one_ps"
  double value = 0;
  std::string unit;
  std::string baseline;       // the name of the row it is compared with; "": it is a baseline itself
  double ratio = 0;           // to the baseline, median of the rounds' ratios; 0: none
  double goal = 0;            // the ratio aimed at; 0: none
  bool goal_is_most = false;  // the goal is the greatest ratio allowed, else the least
  std::string what;           // what the row isolates, for people

  bool MeetsGoal() const { return goal_is_most ? ratio <= goal : ratio >= goal; }
};

double Median(std::vector<double> values);  // of at least one

std::string BenchTable(const std::vector<BenchRow>& rows);  // and a line under it for each row that says what it is
std::string BenchJson(const std::vector<BenchRow>& rows);   // a list of {name, value, ..., what}

}  // namespace leeway
