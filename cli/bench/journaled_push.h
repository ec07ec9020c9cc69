// JournaledPush: pushes to a `ps` that keeps a journal, and plain writing of the same bytes to the same disk.
//
// Both go to new files, and remove theirs of the time before, so that a bench holds little memory and waits for no
// disk.
//
// Thread safety: one thread. Ownership: the `ps` and its folder live as long as this object.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/bench/shard_client.h"
#include "cli/cluster.h"
#include "cli/run_options.h"

namespace leeway {

class JournaledPush {
 public:
  // Starts a `ps` with --journal=on in a folder of its own in `options.directory`. `wait`: as LocalCluster::Start's.
  static absl::StatusOr<std::unique_ptr<JournaledPush>> Start(RunOptions options, std::uint64_t elements,
                                                              const std::function<bool(absl::Duration)>& wait);

  pid_t pid() const;
  absl::Status Push();
  // write() of `bytes`, which are as many as a push has, in pieces of a chunk's size.
  absl::Status Write(const std::vector<float>& bytes);

 private:
  explicit JournaledPush(RunOptions options) : folder_(options.directory), cluster_(std::move(options)) {}

  const std::string folder_;
  LocalCluster cluster_;
  std::unique_ptr<ShardClient> client_;
  std::uint64_t writes_ = 0;
};

}  // namespace leeway
