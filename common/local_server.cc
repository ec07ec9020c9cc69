#include "common/local_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/buffer_pool.h"
#include "common/clock.h"
#include "common/frame_connection.h"
#include "common/local_socket.h"
#include "common/log.h"
#include "common/log_every.h"
#include "common/mutex.h"
#include "common/read_budget.h"
#include "common/retry.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

using SteadyClock = std::chrono::steady_clock;

// How long Shutdown waits before it cuts off calls that the handler has not answered.
constexpr std::chrono::seconds kShutdownGrace{5};
// When nobody can be accepted, for want of file descriptors, it is tried again after this.
constexpr std::chrono::milliseconds kAcceptAgain{100};
constexpr absl::Duration kComeBack = absl::Milliseconds(100);

// One line for whatever clients do wrong, however often they do it.
class Complaints {
 public:
  explicit Complaints(std::string address) : address_(std::move(address)) {}

  void Say(const absl::Status& what) {
    MutexLock lock(mu_);
    const Instant now{SteadyClock::now().time_since_epoch() / std::chrono::nanoseconds(1)};
    if (every_.Due(now)) {
      spdlog::warn("{}: a connection is closed ({} more since the last line): {}", address_, every_.skipped(), what);
    }
  }

 private:
  const std::string address_;
  Mutex mu_;
  LogEvery every_ LEEWAY_GUARDED_BY(mu_){absl::Seconds(10)};
};

// Its calls' callbacks share it: an answer may come when the server is gone.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(int socket, std::shared_ptr<BufferPool> pool, RequestHandler* handler, Authorizer* authorizer,
          Complaints* complaints, ReadBudget* budget)
      : handler_(handler),
        authorizer_(authorizer),
        complaints_(complaints),
        budget_(budget),
        connection_(socket, std::move(pool)) {}

  // Not OK: it never runs.
  absl::Status Start() {
    FrameConnection::Options options;
    options.reads = FrameHeader::kRequest;
    options.pause_above = LocalServer::kPauseAbove;
    options.budget = budget_;
    options.message_limit = LocalServer::kMessageLimit;
    options.on_frame = [this](Frame frame) { Handle(std::move(frame)); };
    options.on_end = [this](const absl::Status& status) {
      if (!status.ok() && !absl::IsUnavailable(status)) complaints_->Say(status);
      finished_ = true;
      MutexLock lock(mu_);
      answered_.NotifyAll();  // nobody waits for the answers
    };
    return connection_.Start(std::move(options));
  }

  bool finished() const { return finished_; }

  void Drain() { draining_ = true; }
  void Finish(SteadyClock::time_point deadline) {
    {
      MutexLock lock(mu_);
      while (calls_ > 0 && !connection_.ended()) {
        if (!answered_.WaitUntil(mu_, deadline)) break;
      }
    }
    connection_.Flush(deadline);
    connection_.Break(absl::OkStatus());
  }
  void Join() { connection_.Join(); }

 private:
  void Handle(Frame frame) {
    const std::uint64_t call = frame.header.call;
    const RequestWords words = SplitRequestText(frame.text);
    absl::Status refused;
    if (authorizer_ != nullptr) {
      refused = authorizer_->CheckMethod(words.method, BearerToken(words.authorization), "a local socket");
    }
    if (refused.ok()) {
      MutexLock lock(mu_);
      if (draining_) {
        refused = absl::UnavailableError("the server is shutting down");
      } else if (calls_ >= LocalServer::kMaxCalls) {
        refused = WithRetryAfter(
            absl::ResourceExhaustedError(absl::StrCat(calls_, " calls of one connection are under way")), kComeBack);
      } else {
        ++calls_;
      }
    }
    if (!refused.ok()) {
      connection_.Send(ReplyFrame(call, refused, {}));
      return;
    }
    handler_->Handle(words.method, std::move(frame.body),
                     [self = shared_from_this(), call](absl::Status status, Buffer reply) {
                       self->Answer(call, std::move(status), std::move(reply));
                     });
  }

  void Answer(std::uint64_t call, absl::Status status, Buffer reply) {
    if (status.ok()) status = CheckBody(reply);
    connection_.Send(ReplyFrame(call, status, std::move(reply)));
    MutexLock lock(mu_);
    --calls_;
    if (draining_ && calls_ == 0) answered_.NotifyAll();
  }

  RequestHandler* const handler_;
  Authorizer* const authorizer_;
  Complaints* const complaints_;
  ReadBudget* const budget_;
  FrameConnection connection_;
  std::atomic<bool> draining_ = false;
  std::atomic<bool> finished_ = false;

  Mutex mu_;
  CondVar answered_;
  std::size_t calls_ LEEWAY_GUARDED_BY(mu_) = 0;
};

}  // namespace

class LocalServer::Impl {
 public:
  Impl(const std::string& address, int listener, RequestHandler* handler, std::shared_ptr<Authorizer> authorizer)
      : listener_(listener),
        handler_(handler),
        authorizer_(std::move(authorizer)),
        complaints_(address),
        thread_([this] { AcceptLoop(); }) {}

  ~Impl() { Shutdown(); }

  void Shutdown() {
    if (!thread_.joinable()) return;
    {
      MutexLock lock(mu_);
      stopping_ = true;
      stop_.NotifyAll();
    }
    shutdown(listener_, SHUT_RDWR);  // wakes accept
    thread_.join();
    close(listener_);  // now, or who was not accepted any more would wait for an answer
    const auto deadline = SteadyClock::now() + kShutdownGrace;
    for (const auto& session : sessions_) session->Drain();
    for (const auto& session : sessions_) session->Finish(deadline);
    budget_.Stop();  // wakes who waits for a turn
    for (const auto& session : sessions_) session->Join();
    sessions_.clear();
  }

 private:
  void AcceptLoop() {
    for (;;) {
      const int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      const int error = errno;
      if (socket >= 0) Admit(socket);
      MutexLock lock(mu_);
      if (socket < 0 && !stopping_ && error != EINTR && error != ECONNABORTED) {
        complaints_.Say(absl::ResourceExhaustedError(absl::StrCat("accept: ", std::strerror(error))));
        stop_.WaitUntil(mu_, SteadyClock::now() + kAcceptAgain);
      }
      if (stopping_) return;
    }
  }

  void Admit(int socket) {
    for (std::size_t i = 0; i < sessions_.size();) {
      if (!sessions_[i]->finished()) {
        ++i;
        continue;
      }
      sessions_[i]->Join();
      sessions_.erase(sessions_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    absl::Status status = CheckPeer(socket);
    if (status.ok() && sessions_.size() >= kMaxConnections) {
      status = absl::ResourceExhaustedError(absl::StrCat("there are ", kMaxConnections, " already"));
    }
    if (!status.ok()) {
      complaints_.Say(status);
      close(socket);
      return;
    }
    auto session = std::make_shared<Session>(socket, pool_, handler_, authorizer_.get(), &complaints_, &budget_);
    status = session->Start();
    if (!status.ok()) return complaints_.Say(status);  // closed with the session
    sessions_.push_back(std::move(session));
  }

  const int listener_;
  RequestHandler* const handler_;
  const std::shared_ptr<Authorizer> authorizer_;
  Complaints complaints_;
  const std::shared_ptr<BufferPool> pool_ = std::make_shared<BufferPool>();
  ReadBudget budget_{kReadingBytes};
  std::vector<std::shared_ptr<Session>> sessions_;  // of the accepting thread, then of Shutdown

  Mutex mu_;
  CondVar stop_;
  bool stopping_ LEEWAY_GUARDED_BY(mu_) = false;
  std::thread thread_;  // last: it uses all of the above
};

absl::StatusOr<std::unique_ptr<LocalServer>> LocalServer::Start(const std::string& address, RequestHandler* handler,
                                                                std::shared_ptr<Authorizer> authorizer) {
  ASSIGN_OR_RETURN(const int listener, ListenLocal(address));
  return std::unique_ptr<LocalServer>(
      new LocalServer(std::make_unique<Impl>(address, listener, handler, std::move(authorizer))));
}

LocalServer::LocalServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LocalServer::~LocalServer() { Shutdown(); }
void LocalServer::Shutdown() { impl_->Shutdown(); }

}  // namespace leeway
