// The directory of a run, and what is written into it at the end.
//
// Thread safety: one thread per directory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/report/facts.h"
#include "common/files.h"
#include "proto/coordinator.pb.h"

namespace leeway {

struct RunDirectory {
  std::string path;
  bool resumed = false;                      // it holds a run that was interrupted, and can be gone on with
  std::unique_ptr<FileLock> lock = nullptr;  // as long as the run goes on: another leeway run keeps off
};

// Makes `wanted`, or for "" a new runs/<date>-<time>. A directory of an earlier run is taken up when that run was not
// finished and its ps kept their state in `checkpoint_dir` ("": they keep none): the same command, given again, goes on
// where it was interrupted. INVALID_ARGUMENT: it exists and is neither empty nor such a directory, or cannot be made,
// or another process has it; names the path and the reason.
absl::StatusOr<RunDirectory> MakeRunDirectory(const std::string& wanted, const std::string& checkpoint_dir);

// Every command line of a run, one per line: "ps-0: PROGRAM FLAG...".
inline constexpr char kCommandsFile[] = "commands.txt";

// The value of the last --checkpoint_dir=DIR among `words`; "": none.
std::string CheckpointDirIn(const std::vector<std::string>& words);

// What a report says about this process and machine, from now on.
RunFacts CollectFacts(int argc, char** argv);

// Writes summary.json and report.html into `directory`, and the summary to `copy` too unless that is "".
// UNAVAILABLE names the file that cannot be written; the others are written all the same.
absl::Status WriteResults(const std::string& directory, const std::string& copy, const v1::GetStatusReply& status,
                          const RunFacts& facts);

}  // namespace leeway
