// PushBook: every chunk that was pushed in a simulated cluster, and what its worker was told of it: the bytes of one
// chunk never change, and what was said of it stands, whoever asks again, however late, and whatever has died since.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "common/buffer.h"
#include "common/placement.h"
#include "proto/parameter_server.pb.h"

namespace leeway {

class PushBook {
 public:
  struct Key {
    std::uint64_t incarnation = 0;
    std::uint64_t step = 0;
    std::uint32_t shard = 0;
    std::uint32_t chunk = 0;
    bool operator<(const Key& other) const {
      return std::tie(incarnation, step, shard, chunk) <
             std::tie(other.incarnation, other.step, other.shard, other.chunk);
    }
  };
  struct Chunk {
    v1::PushRequest header;
    Buffer payload;
    v1::Verdict told = v1::VERDICT_NONE;  // APPLIED, REFUSED, DROPPED; HELD until its round is closed
    bool denied = false;                  // told that it was not applied and never will be (its worker's lease ran out)
  };

  // A push has come to `shard`, or has been answered by it. What is wrong, or nothing. (Of null pushes nothing is
  // kept.)
  std::optional<std::string> Came(std::uint32_t shard, const v1::PushRequest& header, const Buffer& payload);
  std::optional<std::string> Answered(std::uint32_t shard, const v1::PushRequest& header, const absl::Status& status,
                                      const v1::PushReply& reply);

  const std::map<Key, Chunk>& chunks() const { return chunks_; }

  // A chunk's values; zeros elsewhere in its shard's part of the model vector, which `sum` is. Times `factor`.
  static void Add(const Placement& placement, const Chunk& chunk, double factor, std::vector<double>* sum);

 private:
  std::map<Key, Chunk> chunks_;
};

}  // namespace leeway
