// ReadTurns: which calls of a connection have their messages read, and which wait. A message that is being read is
// whole in memory soon; one that waits stays with its sender, but for the first 64 KiB (common/grpc_server.cc), so
// this is what bounds the memory of messages that nobody has looked at yet.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: of a connection at most kReading calls read and kWaiting wait, and none waits while fewer than kReading
// read; they read in the order in which they came.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>

namespace leeway {

class PayloadCall;  // told apart by address, never looked at

class ReadTurns {
 public:
  // One that arrives, and one behind it, so that the connection is not idle in between.
  static constexpr std::size_t kReading = 2;
  // More than a worker has under way with --pipeline_depth=1; what comes beyond is told to come again.
  static constexpr std::size_t kWaiting = 32;

  enum class Answer { kRead, kWait, kRefuse };
  // A call has come. kRead: it reads now, and the caller must say Done. kWait: until Done names it, or Forget.
  Answer Arrive(const std::string& connection, PayloadCall* call);

  // A call that read has read, or failed to. Returns the one that reads now, if any.
  PayloadCall* Done(const std::string& connection);

  // A call is gone. True when it waited: then it never reads. False when it reads: it still has to say Done.
  bool Forget(const std::string& connection, const PayloadCall* call);

  std::size_t reading() const { return reading_; }  // over all connections

 private:
  struct Connection {
    std::size_t reading = 0;
    std::deque<PayloadCall*> waiting;
  };
  std::map<std::string, Connection> connections_;  // with calls that read
  std::size_t reading_ = 0;
};

}  // namespace leeway
