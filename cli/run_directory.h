// The directory of a run, and what is written into it at the end.
//
// Thread safety: one thread per directory.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/report/facts.h"
#include "proto/coordinator.pb.h"

namespace leeway {

// Makes `wanted`, or for "" a new runs/<date>-<time>, and returns its path. INVALID_ARGUMENT: it exists and
// is not an empty directory, or cannot be made; names the path and the reason.
absl::StatusOr<std::string> MakeRunDirectory(const std::string& wanted);

// What a report says about this process and machine, from now on.
RunFacts CollectFacts(int argc, char** argv);

// Writes summary.json and report.html into `directory`, and the summary to `copy` too unless that is "".
// UNAVAILABLE names the file that cannot be written; the others are written all the same.
absl::Status WriteResults(const std::string& directory, const std::string& copy, const v1::GetStatusReply& status,
                          const RunFacts& facts);

}  // namespace leeway
