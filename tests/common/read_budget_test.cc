// ReadBudget, and the connections that take from it: who only announces, stalls or dribbles does not hold up the
// others.
#include "common/read_budget.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "common/buffer_pool.h"
#include "common/frame.h"
#include "common/frame_connection.h"
#include "tests/catch.h"

namespace leeway {
namespace {

constexpr std::size_t kFirst = 64 << 10;
constexpr std::size_t kMessage = 1 << 20;

TEST_CASE("ReadBudget: never more than its limit at once, and everybody gets a turn") {
  ReadBudget budget(100);
  std::atomic<int> taken = 0, most = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, size = 30 + 20 * t] {
      for (int i = 0; i < 500; ++i) {
        if (!budget.Take(static_cast<std::size_t>(size))) continue;
        const int now = taken += size;
        for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::yield();
        taken -= size;
        budget.Give(static_cast<std::size_t>(size));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(most <= 100);
  CHECK(taken == 0);
  CHECK(budget.Take(100));  // all of it is there again
}

TEST_CASE("ReadBudget: Stop lets go who waits") {
  ReadBudget budget(100);
  REQUIRE(budget.Take(100));
  bool got = true;
  std::thread waits([&] { got = budget.Take(1); });
  budget.Stop();
  waits.join();
  CHECK_FALSE(got);
}

// A reading connection, and the other end of its socket in the test's hand.
class Reader {
 public:
  Reader(ReadBudget* budget, std::chrono::milliseconds limit) {
    int sockets[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    socket_ = sockets[0];
    connection_ = std::make_unique<FrameConnection>(sockets[1], std::make_shared<BufferPool>());
    FrameConnection::Options options;
    options.budget = budget;
    options.message_limit = limit;
    options.on_frame = [this](const Frame&) { ++frames_; };
    options.on_end = [this](const absl::Status& status) { end_ = status; };
    REQUIRE(connection_->Start(std::move(options)).ok());
  }
  ~Reader() {
    if (connection_ == nullptr) return;
    connection_->Break(absl::OkStatus());
    (void)End();
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // False: the connection has ended.
  bool Send(const void* bytes, std::size_t size) {
    return send(socket_, bytes, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
  }
  void Announce() {
    Frame frame = RequestFrame(1, "", {});
    frame.header.body = kMessage;
    CHECK(Send(&frame.header, sizeof(frame.header)));
  }
  void SendBody(std::size_t size) { CHECK(Send(std::string(size, 'b').data(), size)); }
  void AwaitFrames(int count) const {
    while (frames_ < count) std::this_thread::yield();
  }
  // How it ended; waits until it has.
  absl::Status End() {
    connection_->Join();
    connection_ = nullptr;
    close(socket_);
    return end_;
  }

  // Waits for the other end to close, at most for `time`.
  bool Closed(std::chrono::milliseconds time) {
    pollfd end{socket_, POLLRDHUP, 0};
    return poll(&end, 1, static_cast<int>(time.count())) > 0;
  }

 private:
  int socket_ = -1;
  std::unique_ptr<FrameConnection> connection_;
  std::atomic<int> frames_ = 0;
  absl::Status end_;
};

TEST_CASE("FrameConnection: who only announces a message takes no turn from others") {
  ReadBudget budget(kMessage);
  Reader announces(&budget, std::chrono::hours(1)), honest(&budget, std::chrono::hours(1));
  announces.Announce();
  announces.SendBody(kFirst - 1);
  for (int i = 1; i <= 20; ++i) {
    honest.Announce();
    honest.SendBody(kMessage);
    honest.AwaitFrames(i);
  }
  announces.SendBody(kMessage - kFirst + 1);
  announces.AwaitFrames(1);
}

TEST_CASE("FrameConnection: who stalls in the middle of a message, or dribbles, is closed, and others get on") {
  ReadBudget budget(kMessage);
  Reader idle(&budget, std::chrono::milliseconds(50)), stalls(&budget, std::chrono::milliseconds(50));
  Reader honest(&budget, std::chrono::hours(1));
  stalls.Announce();
  SECTION("before its turn") { stalls.SendBody(1000); }
  SECTION("with its turn") { stalls.SendBody(kFirst + 1000); }
  SECTION("byte by byte") {
    stalls.SendBody(kFirst);
    while (stalls.Send("b", 1) && !stalls.Closed(std::chrono::milliseconds(1))) {
    }
  }
  honest.Announce();
  honest.SendBody(kMessage);
  honest.AwaitFrames(1);
  CHECK(absl::IsDeadlineExceeded(stalls.End()));
  // Between two messages there is no hurry.
  const Frame small = RequestFrame(2, "", {});
  CHECK(idle.Send(&small.header, sizeof(small.header)));
  idle.AwaitFrames(1);
}

}  // namespace
}  // namespace leeway
