// report.html: one run on one page, to look at, to keep, to send on. It needs no script, no network and no
// other file.
//
// Thread safety: pure functions. All text of the status is escaped: worker names are outside input.
#pragma once

#include <string>

#include "cli/report/facts.h"
#include "proto/coordinator.pb.h"

namespace leeway {

// Works for any status: while the run goes on, before its first evaluation, without workers.
std::string RenderReportHtml(const v1::GetStatusReply& status, const RunFacts& facts);

}  // namespace leeway
