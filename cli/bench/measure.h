// Measuring subjects in turns: each round runs every subject once, side by side with its baseline, so that what
// disturbs the machine for a while disturbs both. Figures are medians of the rounds, ratios medians of each round's.
//
// Thread safety: one thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/bench/bench_row.h"

namespace leeway {

double MonotonicSeconds();

// CPU time, user and system, of this process and of `others` together. A process that is gone counts 0.
double CpuSeconds(const std::vector<pid_t>& others);

struct Subject {
  std::string name;
  std::function<absl::StatusOr<double>()> run;  // does some work; returns how many bytes
  std::vector<pid_t> processes;                 // that work for it, besides this one
};

struct Turns {
  int rounds = 1;
  absl::Duration time;                       // at least, per subject and round
  std::function<bool(absl::Duration)> wait;  // sleeps; false: the bench is to end
  std::vector<std::string> only = {};        // subjects, without the bench's name; empty: all
};

class Measured {
 public:
  struct Sample {
    double gigabytes_per_second = 0;
    double cpu_seconds_per_gigabyte = 0;
  };

  void Add(const std::string& name, const Sample& sample) { samples_[name].push_back(sample); }

  bool Has(const std::string& name) const { return samples_.count(name) > 0; }

  // A row with the speed of `name`, in GB/s; one with the CPU time of `name` per GB, named `name`.cpu. `baseline` is
  // another subject, or "": none. One that was not measured is none. Requires Has(name).
  BenchRow Speed(const std::string& name, const std::string& baseline, double goal, const std::string& what) const;
  BenchRow Cpu(const std::string& name, const std::string& baseline, double goal_at_most) const;

  // `of` applied to each round's samples of the named subjects.
  std::vector<double> PerRound(const std::vector<std::string>& names,
                               const std::function<double(const std::vector<Sample>&)>& of) const;

 private:
  std::map<std::string, std::vector<Sample>> samples_;  // by subject, one per round
};

// One round to warm up, then `turns.rounds`. CANCELLED: `wait` said so; INVALID_ARGUMENT: a name of `turns.only` is
// none; else a subject's first error, which names it.
absl::StatusOr<Measured> MeasureInTurns(const std::vector<Subject>& subjects, const Turns& turns);

}  // namespace leeway
