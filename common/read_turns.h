// ReadTurns: which calls of a server have their messages read, and which wait their turn. A message that is being read
// is whole in memory soon; one that waits stays with its sender, but for its first 64 KiB. So
// this is what bounds the memory of messages that nobody has looked at yet, however many clients there are.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: kReading calls read at most; of each connection one, and up to kOfOne while less than half of the places
// are taken. Nobody waits who may read. Of a connection at most kWaiting wait; they read in the order in which they
// came. Connections take turns, first those that read nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "absl/time/time.h"

namespace leeway {

class PayloadCall;  // told apart by address, never looked at

class ReadTurns {
 public:
  // 256 MiB of chunks. A client that stops in the middle of a message keeps its place for kLongestTurn, so it takes
  // many such clients at once to hold up the others, and not for long.
  static constexpr std::size_t kReading = 64;
  // gRPC 1.51 lets a message that is being read be 1 MiB ahead, so one alone gets 1 MiB per round trip through: over a
  // long link, several. Three make use of all 8 chunks that a worker has under way over its three connections.
  static constexpr std::size_t kOfOne = 3;
  // What a worker gives a whole call; 4 MiB take so long at 1.7 Mbit/s.
  static constexpr absl::Duration kLongestTurn = absl::Seconds(20);
  // Of one connection: a worker has 8 chunks under way per step of its pipeline, over three connections, so this is
  // enough up to a depth of 7. What comes beyond is told to come again.
  static constexpr std::size_t kWaiting = 24;
  // What a call may send before its message is read: HTTP/2's own default, and the server's setting.
  static constexpr std::size_t kFirstBytes = 64 * 1024 - 1;

  // What unread messages of `message` bytes take at most, over this many connections that carry them. Of each
  // connection that is the beginning of what waits, and 1 MiB for the transport's own buffers.
  static constexpr std::uint64_t MostBytes(std::uint64_t connections, std::uint64_t message) {
    return kReading * message + connections * (kWaiting * kFirstBytes + (1 << 20));
  }

  enum class Answer { kRead, kWait, kRefuse };
  // A call has come. kRead: it reads now, and the caller must say Done. kWait: until Done names it, or Forget.
  Answer Arrive(const std::string& connection, PayloadCall* call);

  // The call of `connection` that read has read, or failed to. Returns the one that reads now, if any.
  PayloadCall* Done(const std::string& connection);

  // A call is gone. True when it waited: then it never reads. False when it reads: it still has to say Done.
  bool Forget(const std::string& connection, const PayloadCall* call);

  std::size_t reading() const { return reading_; }  // calls

 private:
  struct Connection {
    std::size_t reading = 0;  // calls
    std::deque<PayloadCall*> waiting;
  };
  bool MayRead(const Connection& connection) const {
    return connection.reading == 0 ? reading_ < kReading : connection.reading < kOfOne && reading_ < kReading / 2;
  }

  std::map<std::string, Connection> connections_;  // with calls
  std::size_t reading_ = 0;
  std::string last_;  // the connection whose turn it was last
};

}  // namespace leeway
