#include "server/given_book.h"

#include <algorithm>
#include <limits>

#include "kernels/encodings/encoding.h"

namespace leeway {
namespace {

constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();

// How many blocks two runs of one shard have in common.
std::uint64_t Common(const ChunkRun& a, const ChunkRun& b, std::uint32_t num_shards) {
  const auto end = [num_shards](const ChunkRun& run) {
    return run.first_block + std::uint64_t{run.num_blocks} * num_shards;
  };
  const std::uint64_t first = std::max(a.first_block, b.first_block), last = std::min(end(a), end(b));
  return first < last ? (last - first) / num_shards : 0;
}

}  // namespace

void GivenBook::Erase(std::map<Key, Entry>::iterator begin, std::map<Key, Entry>::iterator end) {
  for (auto it = begin; it != end; ++it) {
    bytes_ -= it->second.bytes;
    bytes_of_[std::get<0>(it->first)] -= it->second.bytes;
  }
  entries_.erase(begin, end);
}

std::shared_ptr<GivenWeights> GivenBook::Open(std::uint64_t incarnation, const v1::PullRequest& pull,
                                              const Placement& placement, std::uint64_t limit, std::size_t workers) {
  const ChunkRun run{pull.run().first_block(), pull.run().num_blocks()};
  const Key key{incarnation, pull.clock(), run.first_block};
  if (const auto it = entries_.find(key); it != entries_.end()) {
    const Entry& entry = it->second;
    if (pull.attempt() != 0 && pull.attempt() < entry.attempt) return nullptr;
    const bool same = pull.attempt() != 0 && pull.attempt() == entry.attempt && pull.encoding() == entry.encoding &&
                      run.num_blocks == entry.given->run().num_blocks;
    if (same) return entry.given;
    Erase(it, std::next(it));
  }
  const std::uint64_t bytes =
      EncodedBytes(pull.encoding() == v1::BF16 ? v1::BF16 : v1::F32, placement.RunElements(run));
  std::uint64_t& own = bytes_of_[incarnation];
  if (own + bytes > limit / std::max<std::size_t>(workers, 1) || bytes_ + bytes > limit) return nullptr;
  own += bytes;
  bytes_ += bytes;
  Entry& entry = entries_[key];
  entry = {std::make_shared<GivenWeights>(run), pull.attempt(), pull.encoding(), bytes};
  return entry.given;
}

GivenBook::Found GivenBook::Of(std::uint64_t incarnation, std::uint64_t step, const ChunkRun& run,
                               std::uint32_t num_shards) const {
  Found found;
  std::uint64_t blocks = 0;
  const auto end = entries_.upper_bound({incarnation, step, kLast});
  for (auto it = entries_.lower_bound({incarnation, step, 0}); it != end; ++it) {
    const std::uint64_t common = Common(it->second.given->run(), run, num_shards);
    if (common > 0) found.given.push_back(it->second.given);
    blocks += common;
  }
  found.whole = blocks >= run.num_blocks;
  return found;
}

void GivenBook::Drop(std::uint64_t incarnation, std::uint64_t step) {
  Erase(entries_.lower_bound({incarnation, step, 0}), entries_.upper_bound({incarnation, step, kLast}));
}

void GivenBook::Drop(std::uint64_t incarnation) {
  Erase(entries_.lower_bound({incarnation, 0, 0}), entries_.upper_bound({incarnation, kLast, kLast}));
  bytes_of_.erase(incarnation);
}

}  // namespace leeway
