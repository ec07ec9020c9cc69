// GivenBook: which weights which worker was given for which step (server/given_weights.h), and what they take.
//
// Thread safety: none; a plain object, guarded by its owner. What it hands out may be used without its lock.
// Invariants: one for each incarnation, step and first block: of the newest pull for that step. bytes() is the sum of
// theirs. Nobody is let in beyond an equal share: who pulls far ahead takes no room from the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "common/placement.h"
#include "proto/parameter_server.pb.h"
#include "server/given_weights.h"

namespace leeway {

class GivenBook {
 public:
  // Where the answer to this pull of `incarnation` is to be kept: what its first answer is kept in when it is a
  // repetition, else a fresh one. Null: a newer pull for this step has come before; or this incarnation would have more
  // than its share of `limit` bytes, which `workers` share equally, or all together more than `limit`. Then nothing is
  // kept of this step's run.
  std::shared_ptr<GivenWeights> Open(std::uint64_t incarnation, const v1::PullRequest& pull, const Placement& placement,
                                     std::uint64_t limit, std::size_t workers);

  struct Found {
    std::vector<std::shared_ptr<GivenWeights>> given;
    bool whole = false;  // they hold all of the run's blocks
  };
  // What this incarnation was given of the run for that step.
  Found Of(std::uint64_t incarnation, std::uint64_t step, const ChunkRun& run, std::uint32_t num_shards) const;

  // The step's push has its verdict.
  void Drop(std::uint64_t incarnation, std::uint64_t step);
  // The incarnation is gone.
  void Drop(std::uint64_t incarnation);

  std::uint64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::shared_ptr<GivenWeights> given;
    std::uint64_t attempt = 0;
    v1::Encoding encoding = v1::F32;  // of the request
    std::uint64_t bytes = 0;
  };
  using Key = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>;  // incarnation, step, first block
  void Erase(std::map<Key, Entry>::iterator begin, std::map<Key, Entry>::iterator end);

  std::map<Key, Entry> entries_;
  std::map<std::uint64_t, std::uint64_t> bytes_of_;  // by incarnation
  std::uint64_t bytes_ = 0;
};

}  // namespace leeway
