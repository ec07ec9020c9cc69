#include "cli/bench/measure.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr double kGiga = 1e9;

double ReadClock(clockid_t clock) {
  timespec now{};
  if (clock_gettime(clock, &now) != 0) return 0;
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

absl::StatusOr<Measured::Sample> RunOnce(const Subject& subject, absl::Duration time) {
  const double cpu = CpuSeconds(subject.processes);
  const double begin = MonotonicSeconds();
  const double end = begin + absl::ToDoubleSeconds(time);
  double bytes = 0;
  double now = begin;
  do {
    const absl::StatusOr<double> moved = subject.run();
    if (!moved.ok()) {
      return absl::Status(moved.status().code(),
                          absl::StrCat(subject.name, ": ", std::string(moved.status().message())));
    }
    bytes += *moved;
    now = MonotonicSeconds();
  } while (now < end);
  const double gigabytes = bytes / kGiga;
  return Measured::Sample{gigabytes / (now - begin), (CpuSeconds(subject.processes) - cpu) / gigabytes};
}

std::string ShortName(const Subject& subject) { return subject.name.substr(subject.name.find('.') + 1); }

absl::StatusOr<std::vector<Subject>> Choose(const std::vector<Subject>& all, const std::vector<std::string>& only) {
  if (only.empty()) return all;
  for (const std::string& name : only) {
    if (std::any_of(all.begin(), all.end(), [&name](const Subject& s) { return ShortName(s) == name; })) continue;
    const std::string names =
        absl::StrJoin(all, ", ", [](std::string* out, const Subject& s) { out->append(ShortName(s)); });
    return absl::InvalidArgumentError(absl::StrCat("--bench_only: ", name, ": allowed: ", names));
  }
  std::vector<Subject> chosen;
  for (const Subject& subject : all) {
    if (std::count(only.begin(), only.end(), ShortName(subject)) > 0) chosen.push_back(subject);
  }
  return chosen;
}

double Speed(const Measured::Sample& sample) { return sample.gigabytes_per_second; }
double Cpu(const Measured::Sample& sample) { return sample.cpu_seconds_per_gigabyte; }

}  // namespace

double MonotonicSeconds() { return ReadClock(CLOCK_MONOTONIC); }

double CpuSeconds(const std::vector<pid_t>& others) {
  double seconds = ReadClock(CLOCK_PROCESS_CPUTIME_ID);
  for (const pid_t process : others) {
    clockid_t clock;
    if (clock_getcpuclockid(process, &clock) == 0) seconds += ReadClock(clock);
  }
  return seconds;
}

std::vector<double> Measured::PerRound(const std::vector<std::string>& names,
                                       const std::function<double(const std::vector<Sample>&)>& of) const {
  std::vector<double> values;
  for (std::size_t round = 0; round < samples_.at(names[0]).size(); ++round) {
    std::vector<Sample> samples;
    for (const std::string& name : names) samples.push_back(samples_.at(name)[round]);
    values.push_back(of(samples));
  }
  return values;
}

BenchRow Measured::Speed(const std::string& name, const std::string& baseline, double goal,
                         const std::string& what) const {
  BenchRow row;
  row.name = name;
  row.value = Median(PerRound({name}, [](const auto& s) { return leeway::Speed(s[0]); }));
  row.unit = "GB/s";
  row.what = what;
  if (baseline.empty() || !Has(baseline)) return row;
  row.baseline = baseline;
  row.ratio =
      Median(PerRound({name, baseline}, [](const auto& s) { return leeway::Speed(s[0]) / leeway::Speed(s[1]); }));
  row.goal = goal;
  return row;
}

BenchRow Measured::Cpu(const std::string& name, const std::string& baseline, double goal_at_most) const {
  BenchRow row;
  row.name = name + ".cpu";
  row.value = Median(PerRound({name}, [](const auto& s) { return leeway::Cpu(s[0]); }));
  row.unit = "CPU s/GB";
  if (baseline.empty() || !Has(baseline)) return row;
  row.baseline = baseline + ".cpu";
  row.ratio = Median(PerRound({name, baseline}, [](const auto& s) { return leeway::Cpu(s[0]) / leeway::Cpu(s[1]); }));
  row.goal = goal_at_most;
  row.goal_is_most = true;
  return row;
}

absl::StatusOr<Measured> MeasureInTurns(const std::vector<Subject>& all, const Turns& turns) {
  ASSIGN_OR_RETURN(const std::vector<Subject> subjects, Choose(all, turns.only));
  Measured measured;
  for (int round = 0; round <= turns.rounds; ++round) {
    for (const Subject& subject : subjects) {
      if (!turns.wait(absl::ZeroDuration())) return absl::CancelledError("interrupted");
      const bool warming_up = round == 0;
      const absl::StatusOr<Measured::Sample> sample = RunOnce(subject, warming_up ? absl::ZeroDuration() : turns.time);
      if (!sample.ok()) return sample.status();
      if (!warming_up) measured.Add(subject.name, *sample);
    }
  }
  return measured;
}

}  // namespace leeway
