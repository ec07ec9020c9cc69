// ReadBudget: how many bytes of messages the connections of one server read at once. What a message takes is taken
// before its memory is, and given back once somebody else answers for that memory.
//
// Thread safety: any thread. Take blocks: it is for threads that belong to one connection.
// Invariants: no more than `most` bytes are taken at once; who came first takes first.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/mutex.h"

namespace leeway {

class ReadBudget {
 public:
  explicit ReadBudget(std::size_t most) : left_(most) {}

  // Waits for its turn. Requires bytes <= most. False: Stop was called, and nothing is taken.
  bool Take(std::size_t bytes);
  void Give(std::size_t bytes);

  // Nobody waits any more.
  void Stop();

 private:
  Mutex mu_;
  CondVar changed_;
  std::size_t left_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t next_ticket_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t turn_ LEEWAY_GUARDED_BY(mu_) = 0;  // the ticket of who takes next
  bool stopped_ LEEWAY_GUARDED_BY(mu_) = false;
};

}  // namespace leeway
