#include "common/read_turns.h"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {

class PayloadCall {};  // told apart by address

namespace {

using Answer = ReadTurns::Answer;

TEST_CASE("Two calls of a connection read, the others wait their turn, and too many are refused") {
  ReadTurns turns;
  std::vector<PayloadCall> calls(ReadTurns::kReading + ReadTurns::kWaiting + 1);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const Answer expected = i < ReadTurns::kReading ? Answer::kRead
                            : i + 1 < calls.size()  ? Answer::kWait
                                                    : Answer::kRefuse;
    CHECK(turns.Arrive("a", &calls[i]) == expected);
  }
  PayloadCall other;
  CHECK(turns.Arrive("b", &other) == Answer::kRead);  // one connection does not stand in another's way
  CHECK(turns.Done("b") == nullptr);
  CHECK(turns.Done("a") == &calls[2]);
  CHECK(turns.Done("a") == &calls[3]);
}

TEST_CASE("A call that is gone while it waited never reads") {
  ReadTurns turns;
  PayloadCall a, b, c, d;
  turns.Arrive("x", &a);
  turns.Arrive("x", &b);
  turns.Arrive("x", &c);
  turns.Arrive("x", &d);
  CHECK(turns.Forget("x", &c));
  CHECK_FALSE(turns.Forget("x", &c));
  CHECK_FALSE(turns.Forget("x", &a));  // it reads
  CHECK_FALSE(turns.Forget("y", &a));
  CHECK(turns.Done("x") == &d);
  CHECK(turns.Done("x") == nullptr);
  CHECK(turns.Done("x") == nullptr);
  CHECK(turns.reading() == 0);
}

// What the header promises, by its plainest reading.
struct Model {
  struct Connection {
    std::set<PayloadCall*> reading;
    std::deque<PayloadCall*> waiting;
  };
  std::map<std::string, Connection> connections;
};

TEST_CASE("Whatever comes and goes, each connection reads its calls in order, two at a time") {
  std::mt19937_64 random(TestSeed());
  ReadTurns turns;
  Model model;
  std::deque<PayloadCall> calls;  // addresses stay
  for (int step = 0; step < 20000; ++step) {
    const std::string name(1, static_cast<char>('a' + random() % 3));
    Model::Connection& connection = model.connections[name];
    const std::uint64_t what = random() % 10;
    if (what < 6) {
      PayloadCall* call = &calls.emplace_back();
      const Answer answer = turns.Arrive(name, call);
      if (connection.reading.size() < ReadTurns::kReading) {
        CHECK(answer == Answer::kRead);
        connection.reading.insert(call);
      } else if (connection.waiting.size() < ReadTurns::kWaiting) {
        CHECK(answer == Answer::kWait);
        connection.waiting.push_back(call);
      } else {
        CHECK(answer == Answer::kRefuse);
      }
    } else if (what < 9) {
      if (connection.reading.empty()) continue;  // nobody could be done
      connection.reading.erase(std::next(connection.reading.begin(), random() % connection.reading.size()));
      PayloadCall* expected = nullptr;
      if (!connection.waiting.empty()) {
        expected = connection.waiting.front();
        connection.waiting.pop_front();
        connection.reading.insert(expected);
      }
      CHECK(turns.Done(name) == expected);
    } else if (!connection.waiting.empty()) {
      const auto gone = connection.waiting.begin() + static_cast<long>(random() % connection.waiting.size());
      CHECK(turns.Forget(name, *gone));
      connection.waiting.erase(gone);
    } else if (!connection.reading.empty()) {
      CHECK_FALSE(turns.Forget(name, *connection.reading.begin()));
    }
    std::size_t reading = 0;
    for (const auto& [key, each] : model.connections) reading += each.reading.size();
    REQUIRE(turns.reading() == reading);
  }
}

}  // namespace
}  // namespace leeway
