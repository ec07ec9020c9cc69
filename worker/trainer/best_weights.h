// The file of the weights with the best evaluation of a run. It says which evaluation that was, so that an evaluator
// that is started again does not put worse weights in their place.
//
// Thread safety: pure functions but for the file system.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/files.h"
#include "common/manifest.h"
#include "proto/coordinator.pb.h"

namespace leeway {

// As SaveWeights.
absl::Status SaveBestWeights(FileSystem& files, const std::string& path, const Manifest& manifest, const float* weights,
                             std::uint64_t run_id, const v1::Evaluation& evaluation);

// Samples, loss and accuracy of what `path` holds of this run; nothing where it holds nothing of it.
std::optional<v1::Evaluation> SavedBest(FileSystem& files, const std::string& path, std::uint64_t run_id);

}  // namespace leeway
