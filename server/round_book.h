// RoundBook: the pushes a shard holds for rounds that are not closed yet.
//
// Thread safety: none; a plain object, guarded by its owner.
// Ownership: holds references to the received payloads until their round closes.
// Invariants: a rank gives a round one contribution; what came whole stays whole. held_bytes() is the sum of
// the payloads held. A worker's death changes nothing here: the coordinator's close names who counts.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "common/buffer.h"
#include "proto/coordinator.pb.h"
#include "proto/parameter_server.pb.h"

namespace leeway {

class RoundBook {
 public:
  struct Chunk {
    v1::Encoding encoding = v1::F32;
    Buffer payload;
  };
  struct Contribution {
    std::uint64_t samples = 0;
    std::vector<Chunk> chunks;  // empty for a null push
    std::size_t have = 0;
    bool refused = false;  // it holds a non-finite value, or was refused for one: given, but adds nothing
    bool null = false;     // settled without all its chunks
    bool whole() const { return null || (!chunks.empty() && have == chunks.size()); }
    bool usable() const { return whole() && !refused && !null; }
  };
  using Contributions = std::map<std::uint32_t, Contribution>;  // by rank, ascending

  // Chunk `chunk` of `chunk_count` of `rank`'s push; the caller (PushWindow) has made sure it is new.
  // Returns true when the push has become whole.
  bool Add(std::uint64_t round, std::uint32_t rank, std::uint64_t samples, std::uint32_t chunk,
           std::uint32_t chunk_count, Chunk values);

  // All of `rank`'s push to a shard that has no blocks: there is nothing to sum, but it is given like any other.
  bool AddEmpty(std::uint64_t round, std::uint32_t rank, std::uint64_t samples);

  // As Add, for a chunk that holds a non-finite value.
  bool AddRefused(std::uint64_t round, std::uint32_t rank, std::uint32_t chunk, std::uint32_t chunk_count);

  // The rank gives nothing (more) to this round; `refused`: because of a non-finite value. Returns true when the push
  // has become whole by it.
  bool Settle(std::uint64_t round, std::uint32_t rank, bool refused);

  // Everyone whose push of `round` is whole here, by rank.
  std::vector<v1::RoundContribution> Whole(std::uint64_t round) const;
  bool IsWhole(std::uint64_t round, std::uint32_t rank) const;

  // Takes the contributions of `round` out, and drops everything of earlier rounds.
  Contributions Take(std::uint64_t round);

  // One above the newest round of which something is held; 0: nothing is.
  std::uint64_t end() const { return rounds_.empty() ? 0 : rounds_.rbegin()->first + 1; }

  std::uint64_t held_bytes() const { return held_bytes_; }

 private:
  Contribution& At(std::uint64_t round, std::uint32_t rank, std::uint32_t chunk_count);

  std::map<std::uint64_t, Contributions> rounds_;
  std::uint64_t held_bytes_ = 0;
};

}  // namespace leeway
