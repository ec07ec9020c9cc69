#include "common/local_transport.h"

#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/buffer_pool.h"
#include "common/clock.h"
#include "common/frame_connection.h"
#include "common/local_socket.h"
#include "common/mutex.h"
#include "common/retry.h"

namespace leeway {
namespace {

constexpr std::size_t kMuchToCarry = 64 << 10;
// A worker has a few dozen calls under way (worker/client/pull.h, push.h); this stops a loop gone wild.
constexpr std::size_t kMaxCalls = 4096;

// One connection and the calls under way on it.
class Channel : public std::enable_shared_from_this<Channel> {
 public:
  Channel(std::string address, int socket, std::shared_ptr<BufferPool> pool, Clock* clock)
      : address_(std::move(address)), clock_(clock), connection_(socket, std::move(pool)) {}

  // Not OK: it never runs.
  absl::Status Start() {
    FrameConnection::Options options;
    options.reads = FrameHeader::kReply;
    options.on_frame = [this](Frame frame) {
      Waiting call = Take(frame.header.call);
      if (call.done != nullptr) call.done(StatusOf(frame), std::move(frame.body));
    };
    options.on_end = [this](const absl::Status& status) {
      EndAll(status);
      finished_ = true;
    };
    return connection_.Start(std::move(options));
  }

  void Call(const std::string& text, Buffer request, absl::Duration timeout, ReplyCallback done) {
    std::uint64_t id = 0;
    {
      MutexLock lock(mu_);
      if (calls_.size() < kMaxCalls) {
        id = next_id_++;
        // A timer that fires at once waits for mu_, and finds the call.
        const std::uint64_t timer =
            clock_->RunAt(clock_->Now() + timeout, [self = shared_from_this(), id] { self->Expire(id); });
        calls_[id] = {std::move(done), timer};
      }
    }
    if (id == 0) {
      return done(absl::ResourceExhaustedError(absl::StrCat(address_, ": ", kMaxCalls, " calls under way")), {});
    }
    if (connection_.Send(RequestFrame(id, text, std::move(request)))) return;
    // The connection has ended; it may have ended this call as well.
    Waiting call = Take(id);
    if (call.done != nullptr) call.done(Ended(absl::OkStatus()), {});
  }

  bool ended() const { return connection_.ended(); }
  // Nothing happens on the connection's threads any more.
  bool finished() const { return finished_; }
  void Cancel() { connection_.Break(absl::CancelledError("transport: shutting down")); }
  void Join() { connection_.Join(); }

 private:
  struct Waiting {
    ReplyCallback done;
    std::uint64_t timer = 0;
  };

  // Whoever takes a call ends it. Null: it has ended.
  Waiting Take(std::uint64_t id) {
    Waiting call;
    {
      MutexLock lock(mu_);
      const auto it = calls_.find(id);
      if (it == calls_.end()) return {};
      call = std::move(it->second);
      calls_.erase(it);
    }
    clock_->Cancel(call.timer);
    return call;
  }

  void Expire(std::uint64_t id) {
    Waiting call = Take(id);
    if (call.done == nullptr) return;
    connection_.Withdraw(id);  // who gets the answer may change what the request refers to
    call.done(absl::DeadlineExceededError(absl::StrCat(address_, ": no answer in time")), {});
  }

  absl::Status Ended(const absl::Status& why) const {
    if (absl::IsCancelled(why)) return why;
    return LostConnection(absl::StrCat(address_, ": the connection has ended", why.ok() ? "" : ": ", why.message()));
  }

  void EndAll(const absl::Status& why) {
    std::map<std::uint64_t, Waiting> calls;
    {
      MutexLock lock(mu_);
      calls.swap(calls_);
    }
    for (auto& [id, call] : calls) {
      clock_->Cancel(call.timer);
      call.done(Ended(why), {});
    }
  }

  const std::string address_;
  Clock* const clock_;
  FrameConnection connection_;
  std::atomic<bool> finished_ = false;

  Mutex mu_;
  std::uint64_t next_id_ LEEWAY_GUARDED_BY(mu_) = 1;
  std::map<std::uint64_t, Waiting> calls_ LEEWAY_GUARDED_BY(mu_);
};

class LocalTransport final : public Transport {
 public:
  explicit LocalTransport(std::shared_ptr<TokenSource> token) : token_(std::move(token)) {}

  ~LocalTransport() override {
    std::vector<std::shared_ptr<Channel>> all;
    {
      MutexLock lock(mu_);
      stopping_ = true;
      all.swap(all_);
    }
    // Without the lock: a callback that calls again is told.
    for (const auto& channel : all) channel->Cancel();
    for (const auto& channel : all) channel->Join();
    clock_->Stop();
  }

  void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
            ReplyCallback done) override {
    absl::Status sendable = CheckBody(request);
    const std::string text = RequestText(method, token_ == nullptr ? "" : token_->Bearer());
    if (sendable.ok() && text.size() > FrameHeader::kMaxText) {
      sendable = absl::InvalidArgumentError(absl::StrCat("a method's name of ", method.size(), " bytes"));
    }
    if (!sendable.ok()) return done(std::move(sendable), {});
    const absl::StatusOr<std::shared_ptr<Channel>> channel = Find(address, request.size() >= kMuchToCarry);
    if (!channel.ok()) return done(channel.status(), {});
    (*channel)->Call(text, std::move(request), timeout, std::move(done));
  }

 private:
  absl::StatusOr<std::shared_ptr<Channel>> Find(const std::string& address, bool much) {
    MutexLock lock(mu_);
    if (stopping_) return absl::CancelledError("transport: shutting down");
    const std::pair<std::string, bool> key(address, much);
    if (const auto it = channels_.find(key); it != channels_.end() && !it->second->ended()) return it->second;
    std::erase_if(channels_, [](const auto& entry) { return entry.second->ended(); });
    for (std::size_t i = 0; i < all_.size();) {
      if (!all_[i]->finished()) {
        ++i;
        continue;
      }
      all_[i]->Join();
      all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    const absl::StatusOr<int> socket = ConnectLocal(address);
    if (absl::IsUnavailable(socket.status())) return LostConnection(socket.status().message());
    if (!socket.ok()) return socket.status();
    if (absl::Status peer = CheckPeer(*socket); !peer.ok()) {
      close(*socket);
      return LostConnection(absl::StrCat(address, ": ", peer.message()));
    }
    auto fresh = std::make_shared<Channel>(address, *socket, pool_, clock_.get());
    if (absl::Status started = fresh->Start(); !started.ok()) {
      return LostConnection(absl::StrCat(address, ": ", started.message()));
    }
    channels_[key] = fresh;
    all_.push_back(fresh);
    return fresh;
  }

  const std::shared_ptr<TokenSource> token_;
  const std::shared_ptr<BufferPool> pool_ = std::make_shared<BufferPool>();
  const std::unique_ptr<Clock> clock_ = MakeSystemClock();
  Mutex mu_;
  bool stopping_ LEEWAY_GUARDED_BY(mu_) = false;
  std::map<std::pair<std::string, bool>, std::shared_ptr<Channel>> channels_ LEEWAY_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<Channel>> all_ LEEWAY_GUARDED_BY(mu_);  // those that have to be joined
};

}  // namespace

std::unique_ptr<Transport> MakeLocalTransport(std::shared_ptr<TokenSource> token) {
  return std::make_unique<LocalTransport>(std::move(token));
}

}  // namespace leeway
