// CheckpointCommitter: the seam for what the coordinator does with a checkpoint's directory. The files of the shards
// are theirs.
//
// Thread safety: called under the coordinator's lock, so nothing here blocks; `done` comes once, later, from any
// thread.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/placement.h"
#include "proto/checkpoint.pb.h"

namespace leeway {

class CheckpointCommitter {
 public:
  virtual ~CheckpointCommitter() = default;

  using Done = std::function<void(const absl::Status&)>;
  // Makes room for the checkpoint of `step`. ALREADY_EXISTS: there is one.
  virtual void Begin(std::uint64_t step, Done done) = 0;
  // The checkpoint that shards are about to be told of; id 0: none is under way any more.
  virtual void UnderWay(const v1::Cut& /*cut*/, const Placement& /*placement*/) {}
  // All shards have written: makes it a checkpoint, and removes those that are too many. The newest one of at most
  // `trusted` steps stays: of later ones the loss may have diverged.
  virtual void Commit(v1::CheckpointIndex index, std::uint64_t trusted, Done done) = 0;

  // The newest checkpoint of at most `at_most` steps whose every byte is right; those that are newer, or damaged, are
  // revoked. NOT_FOUND: there is none, and nothing was revoked.
  using Chosen = std::function<void(absl::StatusOr<v1::CheckpointIndex>)>;
  virtual void ChooseNewestGood(std::uint64_t at_most, Chosen done) = 0;
};

}  // namespace leeway
