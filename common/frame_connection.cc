#include "common/frame_connection.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

// A frame up to this size is written by whom it comes from, as far as the socket takes it without waiting: the writing
// thread need not be woken, and a few microseconds of copying block nobody.
constexpr std::size_t kWriteAtOnce = 32 << 10;
// What the socket may hold, where the system allows so much: with its 208 KiB the writer waits while the reader copies
// a piece of a pull to its place.
constexpr int kSocketBytes = 1 << 20;
// Of a message, before it gets memory: as over TCP (ReadTurns::kFirstBytes).
constexpr std::size_t kFirstBytes = 64 << 10;
constexpr std::size_t kMaxPieces = 64;  // of one sendmsg; messages have two or three

absl::Status SystemError(const std::string& what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(error)));
}

}  // namespace

FrameConnection::~FrameConnection() { close(socket_); }

absl::Status FrameConnection::Start(Options options) {
  setsockopt(socket_, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof(kSocketBytes));
  options_ = std::move(options);
  if (const auto limit = options_.message_limit.count(); limit > 0) {
    const timeval time{limit / 1000, limit % 1000 * 1000};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
  }
  // An exception is caught: std::thread has no other way to say that there is no thread. A flood of connections may use
  // up what the system gives, and must not end the process.
  try {
    writer_ = std::thread([this] { WriteLoop(); });
    reader_ = std::thread([this] { ReadLoop(); });
  } catch (const std::system_error& error) {
    absl::Status status = absl::UnavailableError(absl::StrCat("no thread for a connection: ", error.what()));
    Break(status);
    if (writer_.joinable()) writer_.join();
    return status;
  }
  return absl::OkStatus();
}

void FrameConnection::Join() {
  reader_.join();
  writer_.join();
}

bool FrameConnection::ended() const {
  MutexLock lock(mu_);
  return ended_;
}

void FrameConnection::Break(const absl::Status& why) {
  std::deque<Outgoing> dropped;  // freed without the lock
  MutexLock lock(mu_);
  if (ended_) return;
  ended_ = true;
  end_ = why;
  dropped.swap(queue_);
  shutdown(socket_, SHUT_RDWR);  // wakes both threads
  changed_.NotifyAll();
}

bool FrameConnection::Send(Frame frame) {
  Outgoing out;
  out.call = frame.header.call;
  out.head.reserve(sizeof(frame.header) + frame.text.size());
  out.head.append(reinterpret_cast<const char*>(&frame.header), sizeof(frame.header));
  out.head.append(frame.text);
  out.body = std::move(frame.body);
  const std::size_t size = out.left();
  {
    MutexLock lock(mu_);
    if (ended_) return false;
    queued_bytes_ += size;
    if (writing_ || !queue_.empty() || size > kWriteAtOnce) {
      queue_.push_back(std::move(out));
      if (!writing_) changed_.NotifyAll();
      return true;
    }
    writing_ = true;
    writing_call_ = out.call;
  }
  const Written written = Write(&out, MSG_DONTWAIT);
  const int error = errno;
  if (written == Written::kFailed) Break(SystemError("writing", error));
  MutexLock lock(mu_);
  writing_ = false;
  if (written == Written::kSome && !ended_) {
    queued_bytes_ -= size - out.left();
    queue_.push_front(std::move(out));
  } else {
    queued_bytes_ -= size;
  }
  if (!queue_.empty() || ended_) changed_.NotifyAll();
  return true;
}

FrameConnection::Written FrameConnection::Write(Outgoing* out, int flags) {
  while (out->left() > 0) {
    iovec pieces[kMaxPieces];
    std::size_t count = 0;
    std::size_t skip = out->sent;
    const auto add = [&](const char* data, std::size_t size) {
      if (skip >= size) {
        skip -= size;
      } else if (count < kMaxPieces) {
        pieces[count++] = {const_cast<char*>(data) + skip, size - skip};
        skip = 0;
      }
    };
    add(out->head.data(), out->head.size());
    for (const Buffer::Slice& slice : out->body.slices()) add(slice.data, slice.size);
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    const ssize_t sent = sendmsg(socket_, &message, MSG_NOSIGNAL | flags);
    if (sent >= 0) {
      out->sent += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return Written::kSome;
    } else if (errno != EINTR) {
      return Written::kFailed;
    }
  }
  return Written::kAll;
}

void FrameConnection::WriteLoop() {
  mu_.Lock();
  while (!ended_) {
    if (queue_.empty() || writing_) {
      changed_.Wait(mu_);
      continue;
    }
    Outgoing out = std::move(queue_.front());
    queue_.pop_front();
    writing_ = true;
    writing_call_ = out.call;
    mu_.Unlock();
    const std::size_t size = out.left();
    const Written written = Write(&out, 0);
    const int error = errno;
    out = {};
    if (written != Written::kAll) Break(SystemError("writing", error));
    mu_.Lock();
    writing_ = false;
    queued_bytes_ -= size;
    changed_.NotifyAll();
  }
  mu_.Unlock();
}

void FrameConnection::Withdraw(std::uint64_t call) {
  Outgoing dropped;
  {
    MutexLock lock(mu_);
    const auto it =
        std::find_if(queue_.begin(), queue_.end(), [call](const Outgoing& out) { return out.call == call; });
    if (it != queue_.end() && it->sent == 0) {
      dropped = std::move(*it);
      queue_.erase(it);
      queued_bytes_ -= dropped.left();
      return;
    }
    if (it == queue_.end() && !(writing_ && writing_call_ == call)) return;
  }
  Break(absl::UnavailableError("a request was given up while it was written"));
  MutexLock lock(mu_);
  while (writing_) changed_.Wait(mu_);
}

void FrameConnection::Flush(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mu_);
  while (!ended_ && (writing_ || !queue_.empty())) {
    if (!changed_.WaitUntil(mu_, deadline)) return;
  }
}

void FrameConnection::ReadLoop() {
  absl::Status status = ReadFrames();
  Break(status);
  {
    MutexLock lock(mu_);
    while (writing_) changed_.Wait(mu_);
    status = end_;  // the first reason counts
  }
  options_.on_end(status);
}

absl::Status FrameConnection::ReadFrames() {
  for (bool closed = false;;) {
    RETURN_IF_ERROR(ReadFrame(&closed));
    if (closed) return absl::OkStatus();
    MutexLock lock(mu_);
    while (!ended_ && queued_bytes_ > options_.pause_above) changed_.Wait(mu_);
  }
}

absl::Status FrameConnection::ReadFrame(bool* closed) {
  FrameHeader header;
  int error = 0;
  message_due_ = std::chrono::steady_clock::time_point::max();
  const std::size_t got = Read(&header, sizeof(header), &error);
  *closed = got == 0 && error == 0;
  if (*closed) return absl::OkStatus();
  if (got < sizeof(header)) return CutShort(error);
  RETURN_IF_ERROR(CheckHeader(header, options_.reads));
  StartMessageLimit();
  Frame frame{header, std::string(header.text, '\0'), {}};
  if (Read(frame.text.data(), header.text, &error) < header.text) return CutShort(error);
  std::size_t taken = 0;
  absl::Status status = ReadBody(&frame, &taken);
  if (status.ok()) options_.on_frame(std::move(frame));
  if (taken > 0) options_.budget->Give(taken);
  return status;
}

absl::Status FrameConnection::ReadBody(Frame* frame, std::size_t* taken) {
  const std::size_t size = frame->header.body;
  if (size == 0) return absl::OkStatus();
  int error = 0;
  char first[kFirstBytes];
  std::size_t done = 0;
  if (options_.budget != nullptr && size >= sizeof(first)) {
    // Who only announces a message gets neither memory nor a turn.
    done = sizeof(first);
    if (Read(first, done, &error) < done) return CutShort(error);
    if (!options_.budget->Take(size)) return absl::UnavailableError("nothing more is read");
    *taken = size;
    StartMessageLimit();
  }
  // The message ends where a cache line ends: so its last field, the floats, begins at one where its length is a
  // multiple of one, and floats are used where they lie.
  const std::size_t shift = -size % BufferPool::kAlignment;
  std::shared_ptr<char> memory = pool_->Take(shift + size);
  if (memory == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for a message of ", size, " bytes"));
  }
  char* const begin = memory.get() + shift;
  std::memcpy(begin, first, done);
  if (Read(begin + done, size - done, &error) < size - done) return CutShort(error);
  frame->body = Buffer::Wrap(std::move(memory), begin, size);
  return absl::OkStatus();
}

absl::Status FrameConnection::CutShort(int error) const {
  if (error != ETIMEDOUT) return SystemError("the stream ends within a frame", error);
  return absl::DeadlineExceededError(
      absl::StrCat("a message was announced and did not come within ", options_.message_limit.count(), " ms"));
}

void FrameConnection::StartMessageLimit() {
  if (options_.message_limit.count() > 0) message_due_ = std::chrono::steady_clock::now() + options_.message_limit;
}

std::size_t FrameConnection::Read(void* to, std::size_t size, int* error) {
  auto* const bytes = static_cast<char*>(to);
  std::size_t done = 0;
  while (done < size) {
    if (ahead_begin_ < ahead_end_) {
      const std::size_t n = std::min(size - done, ahead_end_ - ahead_begin_);
      std::memcpy(bytes + done, ahead_ + ahead_begin_, n);
      ahead_begin_ += n;
      done += n;
      continue;
    }
    const bool large = size - done >= sizeof(ahead_);
    const ssize_t got =
        large ? recv(socket_, bytes + done, size - done, MSG_WAITALL) : recv(socket_, ahead_, sizeof(ahead_), 0);
    const int failed = got < 0 ? errno : 0;
    // The socket's own limit wakes whoever waits for long; a WAITALL that it cuts off comes with what there is.
    if (std::chrono::steady_clock::now() >= message_due_ && (got < 0 || done + static_cast<std::size_t>(got) < size)) {
      *error = ETIMEDOUT;
      return done;
    }
    if (failed == EINTR || failed == EAGAIN || failed == EWOULDBLOCK) continue;
    if (got <= 0) {
      *error = failed;
      return done;
    }
    if (large) {
      done += static_cast<std::size_t>(got);
    } else {
      ahead_begin_ = 0;
      ahead_end_ = static_cast<std::size_t>(got);
    }
  }
  return done;
}

}  // namespace leeway
