#include "worker/trainer/mailbox.h"

#include <thread>
#include <vector>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("What is posted runs on the waiting thread, in order per poster, and nothing is lost") {
  Mailbox mailbox;
  constexpr int kThreads = 4, kEach = 500;
  std::vector<int> next(kThreads, 0);
  int ran = 0;
  bool in_order = true;
  const std::thread::id owner = std::this_thread::get_id();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        mailbox.Post([&, t, i] {
          in_order = in_order && next[static_cast<std::size_t>(t)]++ == i && std::this_thread::get_id() == owner;
          ++ran;
        });
      }
    });
  }
  CHECK(mailbox.RunUntil([&] { return ran == kThreads * kEach; }));
  for (std::thread& thread : threads) thread.join();
  CHECK(in_order);
}

TEST_CASE("A wait ends at its limit, and when it is woken it looks again") {
  Mailbox mailbox;
  CHECK_FALSE(mailbox.RunUntil([] { return false; }, absl::Milliseconds(20)));
  std::atomic<bool> flag = false;
  std::thread waker([&] {
    flag = true;
    mailbox.Wake();
  });
  CHECK(mailbox.RunUntil([&] { return flag.load(); }));
  waker.join();
}

}  // namespace
}  // namespace leeway
