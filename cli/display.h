// How a run goes, as text: what `leeway run` shows while it waits.
//
// Thread safety: pure functions. Every line is printable ASCII whatever the names in the status hold, so a
// line's size is the number of columns it takes.
#pragma once

#include <string>
#include <vector>

#include "proto/coordinator.pb.h"

namespace leeway {

struct ScreenSize {
  int columns = 80;
  int rows = 24;
};

// The block that is redrawn on a terminal: at most `size.rows` lines of at most `size.columns` characters.
// `before`: a status of some seconds ago, so that shares of time, delay and the time left are recent ones;
// an empty one makes them those of the whole run.
std::vector<std::string> RenderBlock(const v1::GetStatusReply& now, const v1::GetStatusReply& before, ScreenSize size);

// The same as what stands in one line, and that line: for a pipe or a log file.
std::vector<std::string> RenderWords(const v1::GetStatusReply& now, const v1::GetStatusReply& before);
std::string RenderLine(const v1::GetStatusReply& now, const v1::GetStatusReply& before);

// How much of the run is done, 0 to 1, by whichever of the policy's limits is nearest; 0 without a limit.
double FractionDone(const v1::GetStatusReply& status);

}  // namespace leeway
