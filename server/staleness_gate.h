// StalenessGate: may this pull be answered now? The SSP read rule (Ho et al., NIPS 2013) and the rule of
// rounds, in one place.
//
// Thread safety: pure functions of their arguments.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/clock_table.h"

namespace leeway {

// What a pull asks for: weights for step `clock`, with its asker's first `own_clock` pushes in them.
struct GateRequest {
  WorkerId worker = 0;
  std::uint64_t clock = 0;
  std::uint64_t own_clock = 0;
};

struct GateAnswer {
  bool admitted = false;
  std::vector<WorkerId> waits_for;  // when not admitted; the asker itself when its own pushes are missing
};

// `bound` >= 0: admitted when clock - min(clock of counting members) <= bound; so every update of clock
// <= clock - bound - 1 of every live worker is in what the reply shows. -1, or no counting member: other workers do not
// matter.
// In both, the asker's own clock must be at least `own_clock`.
GateAnswer AskGate(const ClockTable& clocks, std::int64_t bound, const GateRequest& request);
// The same without whom it waits for, which takes a walk over all members.
bool GateAdmits(const ClockTable& clocks, std::int64_t bound, const GateRequest& request);

// Rounds: admitted when round `clock` - 1 is closed, that is, `open_round` >= clock. `missing`: members that
// have not given the open round their push.
GateAnswer AskRoundGate(std::uint64_t open_round, const std::vector<WorkerId>& missing, const GateRequest& request);

}  // namespace leeway
