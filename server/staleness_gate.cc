#include "server/staleness_gate.h"

namespace leeway {

bool GateAdmits(const ClockTable& clocks, std::int64_t bound, const GateRequest& request) {
  if (clocks.Get(request.worker) < request.own_clock) return false;
  // Where everybody is parked nobody is waited for: the minimum that stands may be of one whose last push came since.
  if (bound < 0 || !clocks.AnyCounts()) return true;
  const auto lead = static_cast<std::uint64_t>(bound);
  // min >= clock - bound, written so that nothing wraps around.
  return request.clock <= lead || clocks.Min() >= request.clock - lead;
}

GateAnswer AskGate(const ClockTable& clocks, std::int64_t bound, const GateRequest& request) {
  if (GateAdmits(clocks, bound, request)) return {true, {}};
  if (clocks.Get(request.worker) < request.own_clock) return {false, {request.worker}};
  return {false, clocks.Below(request.clock - static_cast<std::uint64_t>(bound))};
}

GateAnswer AskRoundGate(std::uint64_t open_round, const std::vector<WorkerId>& missing, const GateRequest& request) {
  if (open_round >= request.clock) return {true, {}};
  return {false, missing};
}

}  // namespace leeway
