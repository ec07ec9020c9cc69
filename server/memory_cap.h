// MemoryCap: what a `ps` process takes at most, whatever its workers do. docs/architecture.md explains the parts;
// tests/integration/flood_test.py floods a `ps` and compares.
//
// Thread safety: a pure function.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/local_server.h"
#include "common/placement.h"
#include "common/read_turns.h"
#include "server/byte_budget.h"

namespace leeway {

// `store_bytes`: weights and optimizer slots. Messages are chunks of float32 (a stranger's may be four times as large),
// over the three connections of a worker that carry them (common/grpc_transport.h). Over local sockets messages are
// read beside those, up to a limit in bytes whatever they are.
constexpr std::uint64_t MemoryCap(std::uint64_t store_bytes, std::uint64_t max_held_bytes, std::uint64_t workers) {
  constexpr std::uint64_t kProcess = 128 << 20;  // code, threads, other connections, the pool of common/buffer_pool.h
  // On shard 0: pieces of checkpoints that other shards bring and read (server/checkpoint_store.h).
  constexpr std::uint64_t kPieces = 64 << 20;
  constexpr std::uint64_t kMessage = Placement::kChunkElements * sizeof(float) + (64 << 10);
  // Copies for differences take half of it at most, and nothing of what each worker may have at least.
  const std::uint64_t held = std::max(max_held_bytes, max_held_bytes / 2 + workers * ByteBudget::kLeast);
  return kProcess + kPieces + store_bytes + held + ReadTurns::MostBytes(3 * workers, kMessage) +
         LocalServer::kMostBytes;
}

}  // namespace leeway
