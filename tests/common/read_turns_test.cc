#include "common/read_turns.h"

#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {

class PayloadCall {};  // told apart by address

namespace {

using Answer = ReadTurns::Answer;

TEST_CASE("One call of a connection reads, the others wait their turn, and too many are refused") {
  ReadTurns turns;
  std::vector<PayloadCall> calls(ReadTurns::kWaiting + 2);
  CHECK(turns.Arrive("a", &calls[0]) == Answer::kRead);
  for (std::size_t i = 1; i <= ReadTurns::kWaiting; ++i) CHECK(turns.Arrive("a", &calls[i]) == Answer::kWait);
  CHECK(turns.Arrive("a", &calls.back()) == Answer::kRefuse);
  PayloadCall other;
  CHECK(turns.Arrive("b", &other) == Answer::kRead);  // one connection does not stand in another's way
  CHECK(turns.Done("b") == nullptr);
  CHECK(turns.Done("a") == &calls[1]);
  CHECK(turns.Done("a") == &calls[2]);
}

TEST_CASE("A call that is gone while it waited never reads") {
  ReadTurns turns;
  PayloadCall a, b, c;
  turns.Arrive("x", &a);
  turns.Arrive("x", &b);
  turns.Arrive("x", &c);
  CHECK(turns.Forget("x", &b));
  CHECK_FALSE(turns.Forget("x", &b));
  CHECK_FALSE(turns.Forget("x", &a));  // it reads
  CHECK_FALSE(turns.Forget("y", &a));
  CHECK(turns.Done("x") == &c);
  CHECK(turns.Done("x") == nullptr);
  CHECK(turns.reading() == 0);
}

// What the header promises, by its plainest reading.
struct Connection {
  PayloadCall* reading = nullptr;
  std::deque<PayloadCall*> waiting;
};

TEST_CASE("Whatever comes and goes, each connection reads its calls in order, one at a time") {
  std::mt19937_64 random(TestSeed());
  ReadTurns turns;
  std::map<std::string, Connection> model;
  std::deque<PayloadCall> calls;  // addresses stay
  for (int step = 0; step < 20000; ++step) {
    const std::string name(1, static_cast<char>('a' + random() % 3));
    Connection& connection = model[name];
    // Long stretches in which more come than go, and the reverse.
    const bool filling = step / 1000 % 2 == 0;
    const std::uint64_t what = random() % 10;
    if (what < (filling ? 6u : 3u)) {
      PayloadCall* call = &calls.emplace_back();
      const Answer answer = turns.Arrive(name, call);
      if (connection.reading == nullptr) {
        REQUIRE(answer == Answer::kRead);
        connection.reading = call;
      } else if (connection.waiting.size() < ReadTurns::kWaiting) {
        REQUIRE(answer == Answer::kWait);
        connection.waiting.push_back(call);
      } else {
        REQUIRE(answer == Answer::kRefuse);
      }
    } else if (what < 9) {
      if (connection.reading == nullptr) continue;  // nobody could be done
      connection.reading = connection.waiting.empty() ? nullptr : connection.waiting.front();
      if (connection.reading != nullptr) connection.waiting.pop_front();
      REQUIRE(turns.Done(name) == connection.reading);
    } else if (!connection.waiting.empty()) {
      const auto gone = connection.waiting.begin() + static_cast<long>(random() % connection.waiting.size());
      REQUIRE(turns.Forget(name, *gone));
      connection.waiting.erase(gone);
    } else if (connection.reading != nullptr) {
      REQUIRE_FALSE(turns.Forget(name, connection.reading));
    }
    std::size_t reading = 0;
    for (const auto& [key, each] : model) reading += each.reading != nullptr ? 1 : 0;
    REQUIRE(turns.reading() == reading);
  }
}

}  // namespace
}  // namespace leeway
