// ReadTurns: of each connection one call's message is read at a time; the others wait their turn. A message that is
// being read is whole in memory soon; one that waits stays with its sender, but for the first 64 KiB
// (common/grpc_server.cc). So this is what bounds the memory of messages that nobody has looked at yet. A worker has
// several connections for its chunks, so that one or the other is always busy.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: of a connection one call reads whenever there are any, and at most kWaiting wait; they read in the order
// in which they came.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>

namespace leeway {

class PayloadCall;  // told apart by address, never looked at

class ReadTurns {
 public:
  // Far more than a worker has under way (8 chunks per step of its pipeline, over its connections); what comes beyond
  // is told to come again.
  static constexpr std::size_t kWaiting = 64;

  enum class Answer { kRead, kWait, kRefuse };
  // A call has come. kRead: it reads now, and the caller must say Done. kWait: until Done names it, or Forget.
  Answer Arrive(const std::string& connection, PayloadCall* call);

  // The call that read has read, or failed to. Returns the one that reads now, if any.
  PayloadCall* Done(const std::string& connection);

  // A call is gone. True when it waited: then it never reads. False when it reads: it still has to say Done.
  bool Forget(const std::string& connection, const PayloadCall* call);

  std::size_t reading() const { return waiting_.size(); }  // calls, over all connections

 private:
  std::map<std::string, std::deque<PayloadCall*>> waiting_;  // of the connections with a call that reads
};

}  // namespace leeway
