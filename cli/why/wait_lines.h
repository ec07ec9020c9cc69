// WaitLines: who waits for whom at this moment, in words, for leeway status, workers, top and why.
//
// Thread safety: pure functions. Every line is printable ASCII, whatever is in the status.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "proto/coordinator.pb.h"

namespace leeway {

// "waiting: worker-1 for ps 1 at 10.0.0.7:7100, 14 s: no answer, Pull of step 17; UNAVAILABLE: ...". Those first that
// cannot reach somebody, those at a gate last, each the longest first: the others may wait because of the first. At
// most `most`; where there are more, the last line says how many.
std::vector<std::string> WaitLines(const v1::GetStatusReply& status, std::size_t most);

// The first of them below a table, in lines that a terminal shows without wrapping; "" where nobody waits.
std::string WaitLinesText(const v1::GetStatusReply& status);

}  // namespace leeway
