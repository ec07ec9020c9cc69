// Is a --checkpoint_dir one? A slip of the hand that names a home or a data directory should end before anything is
// written there.
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

}  // namespace leeway
