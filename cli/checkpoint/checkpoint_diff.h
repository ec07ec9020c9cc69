// DiffCheckpoints: how far two checkpoints of one model are from each other, tensor by tensor, whatever their numbers
// of shards.
//
// Thread safety: pure functions but for the file system.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/checkpoint/checkpoint_reader.h"

namespace leeway {

struct TensorDiff {
  std::string name;  // of the manifest's tensor, with " slot.0" behind it for the optimizer's state
  std::uint64_t elements = 0;
  std::uint64_t different = 0;  // in any bit
  double max_abs = 0;           // of the differences; infinite where one of the two is no number
  std::uint64_t worst = 0;      // the element (row-major) where it is, with its two values
  float a = 0;
  float b = 0;
};

// FAILED_PRECONDITION, naming both: other models, or other numbers of slots; else CheckpointReader's errors.
absl::StatusOr<std::vector<TensorDiff>> DiffCheckpoints(CheckpointReader& a, CheckpointReader& b);

std::string DiffTable(const std::vector<TensorDiff>& diffs);
std::string DiffJson(const std::vector<TensorDiff>& diffs);

}  // namespace leeway
