// Is a --checkpoint_dir one? A slip of the hand that names a home or a data directory should end before anything is
// written there, and shards that have a folder each, before they train for days without a checkpoint.
//
// Thread safety: pure but for the file system.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/files.h"

namespace leeway {

// OK: it is not there, is empty, or holds something of a run's; what stands beside that is left alone, and hidden files
// and a file system's lost+found do not count. FAILED_PRECONDITION names what it holds instead, or says that it is no
// directory.
absl::Status CheckNotForeign(FileSystem& files, const std::string& checkpoint_dir);

// For a shard that has heard of the coordinator. OK: the coordinator keeps its state there, so it is one folder that
// all share; or there is none ("").
absl::Status CheckShared(FileSystem& files, const std::string& checkpoint_dir);

}  // namespace leeway
