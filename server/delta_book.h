// DeltaBook: which worker has which copy (server/worker_copy.h), and what they take.
//
// Thread safety: none; a plain object, guarded by its owner. The copies it hands out may be used without its lock.
// Invariants: one copy per incarnation and first block; bytes() is the sum of theirs. No two answers have the same
// number, of one book or of another process's, so that a number which a worker kept from a copy that is gone fits no
// other.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "common/placement.h"
#include "server/worker_copy.h"

namespace leeway {

class DeltaBook {
 public:
  // `generation`: random, of this process.
  explicit DeltaBook(std::uint64_t generation) : last_sequence_(generation) {}

  struct Opened {
    std::shared_ptr<WorkerCopy> copy;  // null: there is no room for one
    std::uint64_t sequence = 0;        // for its next answer; 0 without a copy
  };
  // The copy of `run` that `incarnation` has; a fresh one when it has none, or one of another length. All copies
  // together take at most `limit` bytes.
  Opened Open(std::uint64_t incarnation, const ChunkRun& run, const Placement& placement, std::uint64_t limit);

  // The incarnation is gone.
  void Drop(std::uint64_t incarnation);

  std::uint64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::shared_ptr<WorkerCopy> copy;
    std::uint32_t num_blocks = 0;
    std::uint64_t bytes = 0;
  };
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // incarnation, first block
  std::map<Key, Entry>::iterator Erase(std::map<Key, Entry>::iterator it);

  std::map<Key, Entry> copies_;
  std::uint64_t bytes_ = 0;
  std::uint64_t last_sequence_;
};

}  // namespace leeway
