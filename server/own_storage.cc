#include "server/own_storage.h"

#include "common/status_macros.h"
#include "server/shard_checkpoints.h"

namespace leeway {

OwnStorage::OwnStorage(const PsOptions& options, FileSystem* files, Transport* transport, Waiter* waiter)
    : options_(options),
      calls_({options.coordinator, options.shard_index,
              [this] { return started_ ? absl::InfiniteDuration() : options_.start_timeout; }},
             transport, waiter),
      checkpoints_(&calls_, [this] { return !stopped_ && (started_ || !options_.told_to_end()); }),
      upload_(files, &calls_) {}

absl::StatusOr<std::unique_ptr<OwnStorage>> OwnStorage::Open(const PsOptions& options, FileSystem* files,
                                                             Transport* transport, Waiter* waiter) {
  RETURN_IF_ERROR(RemoveOutgoing(*files, options.checkpoint_dir, options.shard_index));
  std::unique_ptr<OwnStorage> storage(new OwnStorage(options, files, transport, waiter));
  RETURN_IF_ERROR(storage->checkpoints_.List(storage->checkpoints_.root()).status());
  return storage;
}

}  // namespace leeway
