// TakeUpRun: what a coordinator that starts goes on from: what an earlier one has saved or, when that does not fit
// this cluster, a checkpoint (docs/adr/0015-going-back-together.md).
//
// Thread safety: at start, before anybody else uses the directory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/files.h"
#include "server/coordinator/file_coordinator_store.h"

namespace leeway {

// `saved`: what is in the store of `checkpoint_dir`. A run that is to go on with another number of ps, or of which
// there are only checkpoints, goes back to the newest good one, and that is said in the log. Nothing: it is a new run.
// FAILED_PRECONDITION: nothing is saved, but there are journals of a run; the message says the way out. NOT_FOUND: it
// must go back, and there is no good checkpoint; RollBack's errors; the file system's.
absl::StatusOr<std::optional<FileCoordinatorStore::Saved>> TakeUpRun(FileSystem& files,
                                                                     const std::string& checkpoint_dir,
                                                                     std::uint32_t num_shards,
                                                                     std::optional<FileCoordinatorStore::Saved> saved);

}  // namespace leeway
