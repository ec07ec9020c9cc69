#include "server/coordinator/quarantine.h"

#include "absl/strings/str_cat.h"

namespace leeway {

bool Quarantine::Observe(const std::string& name, std::uint64_t run) {
  return after_ > 0 && run >= after_ && runs_.emplace(name, run).second;
}

std::string Quarantine::Reason(const std::string& name) const {
  const auto it = runs_.find(name);
  if (it == runs_.end()) return "";
  return absl::StrCat(it->second, " pushes in a row held a NaN or an infinity (--quarantine_after=", after_, ")");
}

std::vector<std::string> Quarantine::names() const {
  std::vector<std::string> names;
  for (const auto& [name, run] : runs_) names.push_back(name);
  return names;
}

void Quarantine::Save(v1::QuarantineState* state) const { state->mutable_runs()->insert(runs_.begin(), runs_.end()); }

absl::Status Quarantine::Restore(const v1::QuarantineState& state) {
  for (const auto& [name, run] : state.runs()) {
    // (After how many was, may have changed since.)
    if (name.empty() || run == 0 || !runs_.emplace(name, run).second) {
      return absl::DataLossError(
          absl::StrCat("quarantine: worker '", name, "' for ", run, " non-finite pushes in a row"));
    }
  }
  return absl::OkStatus();
}

}  // namespace leeway
