// ExportWeights: a checkpoint's weights as one safetensors file, each tensor under its name in the manifest and in its
// shape, as every library of that format reads it (and --init_from).
//
// Thread safety: pure functions but for the file system. Memory: some MiB, whatever the model's size.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/files.h"
#include "server/checkpoint/checkpoint_reader.h"

namespace leeway {

// `path` holds what it held, or all of the weights. INVALID_ARGUMENT: a tensor's name that the format does not take;
// else CheckpointReader's errors and the file system's.
absl::Status ExportWeights(FileSystem& files, CheckpointReader& reader, const std::string& path);

}  // namespace leeway
