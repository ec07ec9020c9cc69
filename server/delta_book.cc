#include "server/delta_book.h"

#include <vector>

namespace leeway {

std::map<DeltaBook::Key, DeltaBook::Entry>::iterator DeltaBook::Erase(std::map<Key, Entry>::iterator it) {
  bytes_ -= it->second.bytes;
  return copies_.erase(it);
}

DeltaBook::Opened DeltaBook::Open(std::uint64_t incarnation, const ChunkRun& run, const Placement& placement,
                                  std::uint64_t limit) {
  const Key key{incarnation, run.first_block};
  auto it = copies_.find(key);
  if (it != copies_.end() && it->second.num_blocks != run.num_blocks) {
    Erase(it);
    it = copies_.end();
  }
  if (it == copies_.end()) {
    const std::uint64_t bytes = placement.RunElements(run) * sizeof(float);
    if (bytes_ + bytes > limit) return {};
    std::vector<std::uint32_t> sizes;
    for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
      const std::uint64_t block = run.first_block + std::uint64_t{i} * placement.num_shards();
      sizes.push_back(static_cast<std::uint32_t>(placement.BlockSize(block)));
    }
    it = copies_.emplace(key, Entry{std::make_shared<WorkerCopy>(std::move(sizes)), run.num_blocks, bytes}).first;
    bytes_ += bytes;
  }
  if (++last_sequence_ == 0) ++last_sequence_;  // which says that there is none
  return {it->second.copy, last_sequence_};
}

void DeltaBook::Drop(std::uint64_t incarnation) {
  auto it = copies_.lower_bound({incarnation, 0});
  while (it != copies_.end() && it->first.first == incarnation) it = Erase(it);
}

}  // namespace leeway
