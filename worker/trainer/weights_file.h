// Weights as safetensors files under the manifest's tensor names: what the evaluator keeps and --init_from reads.
//
// Thread safety: pure functions but for the file system.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files.h"
#include "common/manifest.h"
#include "common/safetensors_header.h"

namespace leeway {

// Writes `weights` (manifest.elements() floats) atomically, with what `more` has to say of them. The file system's
// error.
absl::Status SaveWeights(FileSystem& files, const std::string& path, const Manifest& manifest, const float* weights,
                         SafetensorsMetadata more = {});

// INVALID_ARGUMENT: a tensor is missing, unknown or of another shape (both are named), a value is not finite; else
// the file's error.
absl::StatusOr<std::shared_ptr<const std::vector<float>>> LoadWeights(FileSystem& files, const std::string& path,
                                                                      const Manifest& manifest);

}  // namespace leeway
