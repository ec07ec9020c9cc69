// FrameConnection: frames there and back over one stream socket. One thread reads, whole messages by few large calls,
// each into one buffer of a pool; one thread writes what does not fit into the socket at once.
//
// Thread safety: Send, Withdraw, Break, ended from any thread; they never block. Start and Join from one thread, which
// is none of the connection's.
// Ownership: the socket belongs to it. Between a Start that succeeded and destruction comes Join.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "common/buffer_pool.h"
#include "common/frame.h"
#include "common/mutex.h"
#include "common/read_budget.h"

namespace leeway {

class FrameConnection {
 public:
  struct Options {
    FrameHeader::Kind reads = FrameHeader::kRequest;  // the kind of frames that come
    // Nothing is read while more bytes than this wait to be written: who does not read its answers gets no more.
    // (A caller reads always: if both ends could wait for each other, they would.)
    std::size_t pause_above = SIZE_MAX;
    // Not null: a message of 64 KiB or more gets memory only once its first 64 KiB have come, and when it has its turn.
    // Until on_frame has returned its bytes are taken. Outlives the connection's threads.
    ReadBudget* budget = nullptr;
    // Not zero: who has announced a message must send it within this, not counting the wait for its turn, or the
    // connection ends (within twice that). So who stalls does not keep its turn.
    std::chrono::milliseconds message_limit{0};
    // Called on the reading thread. `on_frame` must not block. `on_end` comes once, last; OK: the peer closed the
    // connection between two frames.
    std::function<void(Frame)> on_frame;
    std::function<void(const absl::Status&)> on_end;
  };

  FrameConnection(int socket, std::shared_ptr<BufferPool> pool) : socket_(socket), pool_(std::move(pool)) {}
  ~FrameConnection();
  FrameConnection(const FrameConnection&) = delete;
  FrameConnection& operator=(const FrameConnection&) = delete;

  // UNAVAILABLE: the system gives no thread. Then nothing runs, on_end never comes, and there is nothing to join.
  absl::Status Start(Options options);

  // False: the connection has ended. Else the frame will be written, or on_end comes: then, too, no byte of it is read
  // from its buffer any more.
  bool Send(Frame frame);

  // When it returns, no byte of request `call` is read from its buffer any more: a frame that waits is dropped; one
  // that is half written takes the connection with it.
  void Withdraw(std::uint64_t call);

  // Waits until nothing is left to write, or until `deadline`.
  void Flush(std::chrono::steady_clock::time_point deadline);

  void Break(const absl::Status& why);
  bool ended() const;

  // Waits for both threads. Requires that the connection has ended, or will.
  void Join();

 private:
  // A frame that is on its way: head (header and text), then body; the first `sent` bytes are gone.
  struct Outgoing {
    std::uint64_t call = 0;
    std::string head;
    Buffer body;
    std::size_t sent = 0;
    std::size_t left() const { return head.size() + body.size() - sent; }
  };
  enum class Written { kAll, kSome, kFailed };

  Written Write(Outgoing* out, int flags);  // sets errno when it failed
  void WriteLoop();

  void ReadLoop();
  absl::Status ReadFrames();
  absl::Status ReadFrame(bool* closed);
  // `taken`: what the caller gives back to the budget, whatever the answer.
  absl::Status ReadBody(Frame* frame, std::size_t* taken);
  absl::Status CutShort(int error) const;
  void StartMessageLimit();
  // Exactly `size` bytes; less at the end of the stream. `error`: errno, or 0.
  std::size_t Read(void* to, std::size_t size, int* error);

  const int socket_;
  const std::shared_ptr<BufferPool> pool_;
  Options options_;

  // What was read with a header but lies behind it. Short frames come several by one call.
  char ahead_[4096];
  std::size_t ahead_begin_ = 0, ahead_end_ = 0;        // of the reading thread, as the next
  std::chrono::steady_clock::time_point message_due_;  // max: between messages, or without a limit

  mutable Mutex mu_;
  CondVar changed_;
  std::deque<Outgoing> queue_ LEEWAY_GUARDED_BY(mu_);
  std::size_t queued_bytes_ LEEWAY_GUARDED_BY(mu_) = 0;  // of queue_ and the frame being written
  bool writing_ LEEWAY_GUARDED_BY(mu_) = false;          // somebody writes a frame that is not in queue_
  std::uint64_t writing_call_ LEEWAY_GUARDED_BY(mu_) = 0;
  bool ended_ LEEWAY_GUARDED_BY(mu_) = false;
  absl::Status end_ LEEWAY_GUARDED_BY(mu_);

  std::thread reader_, writer_;
};

}  // namespace leeway
