#include "server/staleness_gate.h"

namespace leeway {

GateAnswer AskGate(const ClockTable& clocks, std::int64_t bound, const GateRequest& request) {
  if (clocks.Get(request.worker) < request.own_clock) return {false, {request.worker}};
  if (bound < 0) return {true, {}};
  const auto lead = static_cast<std::uint64_t>(bound);
  // min >= clock - bound, written so that nothing wraps around.
  if (request.clock <= lead || clocks.Min() >= request.clock - lead) return {true, {}};
  return {false, clocks.Below(request.clock - lead)};
}

GateAnswer AskRoundGate(std::uint64_t open_round, const std::vector<WorkerId>& missing, const GateRequest& request) {
  if (open_round >= request.clock) return {true, {}};
  return {false, missing};
}

}  // namespace leeway
