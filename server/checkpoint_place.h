// CheckpointPlace: where a shard's checkpoints are read, and how its files get there.
//
// Thread safety: a value. Ownership: none; what it points at outlives its users.
#pragma once

#include <string>

#include "common/files.h"

namespace leeway {

class CheckpointUpload;

// As it is made: in --checkpoint_dir, where the shard writes them itself.
struct CheckpointPlace {
  FileSystem* files = nullptr;  // not null: checkpoints are read here, in `directory`
  std::string directory = {};
  const CheckpointUpload* upload = nullptr;  // not null: by this, from a folder of the shard's own
};

}  // namespace leeway
