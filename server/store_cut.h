// StoreCut: one moment's weights and slots of a store, written out while updates go on: each chunk by whoever comes
// first, the writer on its way through the store or the update that would change it.
//
// Thread safety: BeforeUpdate under the chunk's mutex (BlockStore::ChunkMutex). Ownership: shared by the writer and the
// updates under way.
// Invariant: a chunk is written once, and before its first update after the cut.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "proto/shard_state.pb.h"
#include "server/block_store.h"

namespace leeway {

class StoreCut {
 public:
  using Write = std::function<void(std::uint32_t chunk)>;

  StoreCut(std::uint32_t chunks, Write write) : write_(std::move(write)), written_(chunks) {}

  void BeforeUpdate(std::uint32_t chunk) {
    if (std::exchange(written_[chunk], 1) == 0) write_(chunk);
  }

 private:
  const Write write_;
  std::vector<char> written_;  // [chunk], under the chunk's mutex; not bool, whose neighbours share a byte
};

// CutSink: where a shard's cuts go.
class CutSink {
 public:
  virtual ~CutSink() = default;

  // A cut of `store` is made, at which the shard is `state`: checkpoint `name` is to be written. Called under the
  // shard's lock, so it only notes what to do. The receiver has the chunks written that no update comes to, then says
  // Shard::CutWritten(id).
  virtual std::shared_ptr<StoreCut> Begin(std::uint64_t id, const std::string& name, const v1::ShardState& state,
                                          std::shared_ptr<BlockStore> store) = 0;
  // Checkpoint `name` is committed: what only older ones need may go.
  virtual void Committed(const std::string& name) = 0;
};

}  // namespace leeway
