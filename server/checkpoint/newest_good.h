// ChooseNewestGood: the checkpoint that a run goes back to (docs/adr/0015-going-back-together.md).
//
// Thread safety: pure but for the file system; one process (the coordinator) chooses, with nobody writing checkpoints.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/files.h"
#include "proto/checkpoint.pb.h"

namespace leeway {

// The newest checkpoint in `directory` of at most `at_most` steps whose every byte is right. Those that are newer, and
// are no part of the run any more, or damaged, are revoked: nobody must take one of them for the newest good one.
// NOT_FOUND: there is none, and nothing was revoked; says what is wrong with each. Else the file system's errors, also
// of a checkpoint that cannot be read just now.
absl::StatusOr<v1::CheckpointIndex> ChooseNewestGood(FileSystem& files, const std::string& directory,
                                                     std::uint64_t at_most);

}  // namespace leeway
