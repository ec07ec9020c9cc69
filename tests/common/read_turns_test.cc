#include "common/read_turns.h"

#include <algorithm>
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

TEST_CASE("Some calls of a connection read, the others wait their turn, and too many are refused") {
  constexpr std::size_t kOfOne = ReadTurns::kOfOne;
  ReadTurns turns;
  std::vector<PayloadCall> calls(kOfOne + ReadTurns::kWaiting + 1);
  for (std::size_t i = 0; i < kOfOne; ++i) CHECK(turns.Arrive("a", &calls[i]) == Answer::kRead);
  for (std::size_t i = kOfOne; i < kOfOne + ReadTurns::kWaiting; ++i) {
    CHECK(turns.Arrive("a", &calls[i]) == Answer::kWait);
  }
  CHECK(turns.Arrive("a", &calls.back()) == Answer::kRefuse);
  PayloadCall other;
  CHECK(turns.Arrive("b", &other) == Answer::kRead);  // one connection does not stand in another's way
  CHECK(turns.Done("b") == nullptr);
  CHECK(turns.Done("a") == &calls[kOfOne]);
  CHECK(turns.Done("a") == &calls[kOfOne + 1]);
}

std::string Name(std::size_t i) { return "connection " + std::to_string(i); }

TEST_CASE("When half of the places are taken, a connection gets one") {
  ReadTurns turns;
  std::vector<PayloadCall> calls(ReadTurns::kReading + 1);
  for (std::size_t i = 0; i < ReadTurns::kReading / 2; ++i) CHECK(turns.Arrive(Name(i), &calls[i]) == Answer::kRead);
  PayloadCall& second = calls.back();
  CHECK(turns.Arrive(Name(0), &second) == Answer::kWait);
  for (std::size_t i = ReadTurns::kReading / 2; i < ReadTurns::kReading; ++i) {
    CHECK(turns.Arrive(Name(i), &calls[i]) == Answer::kRead);  // whoever has none still gets one
  }
  for (std::size_t i = ReadTurns::kReading - 1; i >= ReadTurns::kReading / 2; --i)
    CHECK(turns.Done(Name(i)) == nullptr);
  CHECK(turns.Done(Name(1)) == &second);
}

TEST_CASE("Who reads nothing comes before who reads already") {
  constexpr std::size_t kHalf = ReadTurns::kReading / 2;
  ReadTurns turns;
  std::vector<PayloadCall> calls(kHalf + 2);
  for (std::size_t i = 0; i < kHalf; ++i) turns.Arrive(Name(i), &calls[i]);
  CHECK(turns.Arrive(Name(0), &calls[kHalf]) == Answer::kWait);
  CHECK(turns.Arrive(Name(1), &calls[kHalf + 1]) == Answer::kWait);
  CHECK(turns.Done(Name(1)) == &calls[kHalf + 1]);  // else it would wait, while half of the places are free
}

TEST_CASE("A call that is gone while it waited never reads") {
  ReadTurns turns;
  PayloadCall a, b, c;
  std::vector<PayloadCall> others(ReadTurns::kOfOne - 1);
  for (PayloadCall& other : others) turns.Arrive("x", &other);
  turns.Arrive("x", &a);
  turns.Arrive("x", &b);
  turns.Arrive("x", &c);
  CHECK(turns.Forget("x", &b));
  CHECK_FALSE(turns.Forget("x", &b));
  CHECK_FALSE(turns.Forget("x", &a));  // it reads
  CHECK_FALSE(turns.Forget("y", &a));
  CHECK(turns.Done("x") == &c);
  for (std::size_t i = 0; i < ReadTurns::kOfOne; ++i) CHECK(turns.Done("x") == nullptr);
  CHECK(turns.reading() == 0);
}

TEST_CASE("When all places are taken, connections take turns, whoever has more to send") {
  ReadTurns turns;
  std::deque<PayloadCall> calls;
  std::map<const PayloadCall*, std::string> owner;
  // The first comers have twenty calls each, the late ones two.
  constexpr std::size_t kEarly = ReadTurns::kReading, kAll = kEarly + 30;
  for (int n = 0; n < 20; ++n) {
    for (std::size_t i = 0; i < (n < 2 ? kAll : kEarly); ++i) {
      PayloadCall* call = &calls.emplace_back();
      owner[call] = Name(i);
      CHECK(turns.Arrive(Name(i), call) == (i < kEarly && n == 0 ? Answer::kRead : Answer::kWait));
    }
  }
  CHECK(turns.reading() == ReadTurns::kReading);
  std::deque<std::string> reading;
  for (std::size_t i = 0; i < kEarly; ++i) reading.push_back(Name(i));
  std::map<std::string, int> turns_of;
  for (std::size_t i = 0; i < 2 * kAll; ++i) {
    const PayloadCall* next = turns.Done(reading.front());
    reading.pop_front();
    REQUIRE(next != nullptr);
    reading.push_back(owner[next]);
    ++turns_of[owner[next]];
  }
  for (std::size_t i = 0; i < kAll; ++i) {
    INFO(Name(i));
    CHECK(turns_of[Name(i)] >= 1);
    CHECK(turns_of[Name(i)] <= 3);
  }
}

// What the header promises, by its plainest reading.
struct Connection {
  std::deque<PayloadCall*> reading;
  std::deque<PayloadCall*> waiting;
};

TEST_CASE("Whatever comes and goes, the header's invariants hold") {
  std::mt19937_64 random(TestSeed());
  ReadTurns turns;
  std::map<std::string, Connection> model;
  std::deque<PayloadCall> calls;  // addresses stay
  std::size_t reading = 0;
  const auto may_read = [&](const Connection& connection) {
    if (connection.reading.empty()) return reading < ReadTurns::kReading;
    return connection.reading.size() < ReadTurns::kOfOne && 2 * reading < ReadTurns::kReading;
  };
  for (int step = 0; step < 30000; ++step) {
    // Few connections with much to send, about as many as half of the places, or more than there are; filling and
    // emptying by turns.
    constexpr std::size_t kConnections[] = {4, ReadTurns::kReading / 2 + 2, 2 * ReadTurns::kReading};
    const std::string name = Name(random() % kConnections[step / 5000 % 3]);
    const bool filling = step / 1000 % 2 == 0;
    Connection& connection = model[name];
    const std::uint64_t what = random() % 10;
    if (what < (filling ? 6u : 3u)) {
      PayloadCall* call = &calls.emplace_back();
      const Answer answer = turns.Arrive(name, call);
      if (may_read(connection)) {
        REQUIRE(answer == Answer::kRead);
        connection.reading.push_back(call);
        ++reading;
      } else if (connection.waiting.size() < ReadTurns::kWaiting) {
        REQUIRE(answer == Answer::kWait);
        connection.waiting.push_back(call);
      } else {
        REQUIRE(answer == Answer::kRefuse);
      }
    } else if (what < 9) {
      if (connection.reading.empty()) continue;  // nobody could be done
      connection.reading.pop_front();
      --reading;
      PayloadCall* next = turns.Done(name);
      Connection* its = nullptr;
      bool anybody = false;
      for (auto& [key, each] : model) {
        const bool eligible = !each.waiting.empty() && may_read(each);
        anybody = anybody || eligible;
        if (eligible && each.waiting.front() == next) its = &each;
      }
      REQUIRE((next != nullptr) == anybody);
      if (next == nullptr) continue;
      REQUIRE(its != nullptr);
      its->reading.push_back(next);
      its->waiting.pop_front();
      ++reading;
    } else if (!connection.waiting.empty()) {
      const auto gone = connection.waiting.begin() + static_cast<long>(random() % connection.waiting.size());
      REQUIRE(turns.Forget(name, *gone));
      connection.waiting.erase(gone);
    } else if (!connection.reading.empty()) {
      REQUIRE_FALSE(turns.Forget(name, connection.reading.front()));
    }
    REQUIRE(turns.reading() == reading);
    REQUIRE(std::none_of(model.begin(), model.end(),
                         [&](const auto& each) { return !each.second.waiting.empty() && may_read(each.second); }));
  }
}

}  // namespace
}  // namespace leeway
