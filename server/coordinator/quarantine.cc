#include "server/coordinator/quarantine.h"

#include <set>

#include "absl/strings/str_cat.h"

namespace leeway {

bool Quarantine::Observe(const std::string& name, std::uint64_t run) {
  return after_ > 0 && run >= after_ && runs_.emplace(name, run).second;
}

bool Quarantine::ObserveGoingBack(const std::string& name) {
  const bool was_in = !Reason(name).empty();
  ++goings_back_[name];
  return !was_in && !Reason(name).empty();
}

std::string Quarantine::Reason(const std::string& name) const {
  if (const auto it = runs_.find(name); it != runs_.end()) {
    return absl::StrCat(it->second, " pushes in a row held a NaN or an infinity (--quarantine_after=", after_, ")");
  }
  if (const auto it = goings_back_.find(name); it != goings_back_.end() && it->second >= kMostGoingsBack) {
    return absl::StrCat("by its word a ps had lost pushes, and the run went back to a checkpoint, ", it->second,
                        " times");
  }
  return "";
}

std::vector<std::string> Quarantine::names() const {
  std::set<std::string> names;
  for (const auto& [name, run] : runs_) names.insert(name);
  for (const auto& [name, times] : goings_back_) {
    if (times >= kMostGoingsBack) names.insert(name);
  }
  return {names.begin(), names.end()};
}

void Quarantine::Save(v1::QuarantineState* state) const {
  state->mutable_runs()->insert(runs_.begin(), runs_.end());
  state->mutable_goings_back()->insert(goings_back_.begin(), goings_back_.end());
}

absl::Status Quarantine::Restore(const v1::QuarantineState& state) {
  for (const auto& [name, run] : state.runs()) {
    // (After how many was, may have changed since.)
    if (name.empty() || run == 0 || !runs_.emplace(name, run).second) {
      return absl::DataLossError(
          absl::StrCat("quarantine: worker '", name, "' for ", run, " non-finite pushes in a row"));
    }
  }
  for (const auto& [name, times] : state.goings_back()) {
    if (name.empty() || times == 0) {
      return absl::DataLossError(
          absl::StrCat("quarantine: by the word of worker '", name, "' the run went back ", times, " times"));
    }
    goings_back_[name] = times;
  }
  return absl::OkStatus();
}

}  // namespace leeway
