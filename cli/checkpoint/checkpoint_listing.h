// What `leeway checkpoint list` and `verify` print.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/verify_checkpoint.h"

namespace leeway {

std::string CheckpointTable(const std::vector<CheckpointEntry>& entries);
std::string CheckpointsJson(const std::vector<CheckpointEntry>& entries);

// A checkpoint that was verified.
struct VerifiedCheckpoint {
  std::string path;
  std::vector<CheckpointDamage> damages;
};
// A line for each that is good, and one for each damage.
std::string VerifiedText(const std::vector<VerifiedCheckpoint>& verified);
std::string VerifiedJson(const std::vector<VerifiedCheckpoint>& verified);

}  // namespace leeway
