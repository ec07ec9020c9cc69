#include "server/coordinator/ticket_office.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/check_policy.h"
#include "server/push_window.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

v1::Policy PolicyWith(std::int64_t max_delay, v1::DelayPolicy delay_policy = v1::APPLY) {
  v1::Policy policy;
  policy.set_staleness_bound(-1);
  policy.set_max_delay(max_delay);
  policy.set_delay_policy(delay_policy);
  return policy;
}

v1::Policy Sqrt() {
  v1::Policy policy = PolicyWith(1, v1::SCALE);
  policy.set_max_delay_sqrt(true);
  return policy;
}

// R_k, by counting.
std::uint64_t RootOf(std::uint64_t k) {
  std::uint64_t root = 1;
  while ((root + 1) * (root + 1) <= k) ++root;
  return root;
}

v1::OpenPushRequest Push(std::uint32_t worker, std::uint64_t clock, std::uint64_t read_serial,
                         std::uint64_t incarnation = 1) {
  v1::OpenPushRequest request;
  request.mutable_stamp()->set_worker_id(worker);
  request.mutable_stamp()->set_incarnation(incarnation);
  request.set_clock(clock);
  request.set_read_serial(read_serial);
  request.set_samples(10);
  return request;
}

TEST_CASE("TicketOffice: a refusal names the delay, the bound and both serials") {
  const v1::Policy policy = PolicyWith(2);
  TicketOffice office;
  REQUIRE(office.Open(policy, Push(0, 0, 0)).ok());
  REQUIRE(office.Open(policy, Push(1, 0, 0)).ok());
  CHECK(Says(office.Open(policy, Push(2, 5, 0)).status(), absl::StatusCode::kAborted,
             {"step 5", "delay 2", "max_delay 2", "serial 0", "now 2"}));
  CHECK(Says(office.Open(policy, Push(2, 6, 3)).status(), absl::StatusCode::kInvalidArgument, {"serial 3", "2"}));
  CHECK(office.refused() == 1);
  CHECK(office.last_serial() == 2);
}

TEST_CASE("TicketOffice: with sqrt the limit grows with the accepted pushes, and says so") {
  const v1::Policy policy = Sqrt();
  TicketOffice office;
  REQUIRE(office.Open(policy, Push(0, 0, 0)).ok());
  for (std::uint64_t k = 1; k < 50; ++k) {
    const std::uint64_t limit = RootOf(k);
    const auto refused = office.Open(policy, Push(1, k, k - limit));
    CHECK(Says(refused.status(), absl::StatusCode::kAborted,
               {absl::StrCat("delay ", limit, " >= max_delay ", limit, ", by sqrt now (").c_str()}));
    REQUIRE(office.Open(policy, Push(0, k, k - (limit - 1))).ok());
    office.Settle(0, 1, k);
  }
  // Another policy's pushes count as well.
  REQUIRE(office.Open(PolicyWith(-1, v1::SCALE), Push(2, 0, 0)).ok());
  CHECK(office.last_serial() == 51);
}

TEST_CASE("TicketOffice: scale divides the rate by the delay, from 2 on") {
  const v1::Policy policy = PolicyWith(-1, v1::SCALE);
  TicketOffice office;
  for (std::uint64_t delay = 0; delay < 5; ++delay) {
    const auto ticket = office.Open(policy, Push(static_cast<std::uint32_t>(delay), 0, 0));
    REQUIRE(ticket.ok());
    CHECK(ticket->delay() == delay);
    CHECK(ticket->rate_scale() == 1.0 / static_cast<double>(std::max<std::uint64_t>(1, delay)));
    CHECK(ticket->samples_before() == 10 * delay);
  }
}

TEST_CASE("TicketOffice: which policies need tickets") {
  CHECK_FALSE(NeedsTicket(PolicyWith(-1)));
  CHECK(NeedsTicket(PolicyWith(4)));
  CHECK(NeedsTicket(PolicyWith(-1, v1::SCALE)));
  v1::Policy round = PolicyWith(4);
  round.set_aggregation(v1::ROUND);
  CHECK_FALSE(NeedsTicket(round));
}

TEST_CASE("TicketOffice: a worker that never commits is held up, not remembered without end") {
  const v1::Policy policy = PolicyWith(1000);
  TicketOffice office;
  absl::Status status;
  std::uint64_t clock = 0;
  while (status.ok() && clock < 10000) status = office.Open(policy, Push(0, clock++, 0)).status();
  CHECK(absl::IsResourceExhausted(status));
  CHECK(clock < 1000);
  CHECK(office.Open(policy, Push(1, 0, 0)).ok());
}

// A request that the network has kept for long, and whose repetition was answered: nobody would bring the push of a new
// ticket, and all would wait for it.
TEST_CASE("TicketOffice: a step of which the decision is forgotten gets no other ticket") {
  const v1::Policy policy = PolicyWith(-1, v1::SCALE);
  TicketOffice office;
  for (std::uint64_t clock = 3; clock < 103; ++clock) {
    REQUIRE(office.Open(policy, Push(0, clock, clock - 3)).ok());
    office.Settle(0, 1, clock);
  }
  v1::TicketOfficeState state;
  office.Save(&state);
  TicketOffice restored;
  REQUIRE(restored.Restore(state).ok());
  for (std::uint64_t clock = 3; clock < 103; ++clock) {
    const auto again = restored.Open(policy, Push(0, clock, clock - 3));
    CAPTURE(clock, again.status().ToString());
    CHECK((again.ok() ? again->serial() == clock - 2 : absl::IsAborted(again.status())));
  }
  CHECK(restored.last_serial() == 100);
}

TEST_CASE("TicketOffice: no accepted delay reaches R; accepted + refused = opened; void is what may be in doubt") {
  constexpr std::uint64_t kMostBehind = 100;
  Random random(TestSeed());
  for (const v1::Policy& policy : {PolicyWith(1, v1::SCALE), PolicyWith(4, v1::SCALE), PolicyWith(16, v1::SCALE),
                                   PolicyWith(-1, v1::SCALE), Sqrt()}) {
    const bool none = policy.max_delay() < 0;
    auto lives = std::make_unique<TicketOffice>();
    std::map<std::uint32_t, std::uint64_t> incarnation;
    std::map<std::uint32_t, std::uint64_t> clock;
    // Clock by serial of the pushes without a verdict everywhere. Nobody is a hundred clocks past one of them: the
    // office would hold that worker up (the case above).
    std::map<std::uint32_t, std::map<std::uint64_t, std::uint64_t>> in_doubt;
    std::map<std::uint32_t, std::map<std::uint64_t, std::uint64_t>> given;  // the incarnation's, settled or not
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;
    std::uint64_t opened = 0;
    std::uint64_t samples = 0;
    for (int step = 0; step < 5000; ++step) {
      if (random.Chance(0.01)) {  // the coordinator is started again
        v1::TicketOfficeState state;
        lives->Save(&state);
        lives = std::make_unique<TicketOffice>();
        REQUIRE(lives->Restore(state).ok());
      }
      TicketOffice& office = *lives;
      const auto worker = static_cast<std::uint32_t>(random.Below(6));
      if (incarnation[worker] == 0) incarnation[worker] = 1;
      const std::uint64_t read = office.last_serial() - std::min(office.last_serial(), random.Below(24));
      const v1::OpenPushRequest request = Push(worker, clock[worker], read, incarnation[worker]);
      const std::uint64_t delay = office.last_serial() - read;
      const std::uint64_t limit =
          policy.max_delay_sqrt() ? RootOf(accepted) : static_cast<std::uint64_t>(policy.max_delay());
      const auto ticket = office.Open(policy, request);
      ++opened;
      if (ticket.ok()) {
        ++accepted;
        REQUIRE((none || delay < limit));
        REQUIRE(ticket->delay() == delay);
        REQUIRE(ticket->serial() == accepted);  // 1, 2, ... without gaps
        REQUIRE(ticket->samples_before() == samples);
        samples += 10;
        in_doubt[worker].emplace(ticket->serial(), clock[worker]);
        given[worker].emplace(ticket->serial(), clock[worker]);
      } else {
        ++refused;
        REQUIRE(absl::IsAborted(ticket.status()));
        REQUIRE((!none && delay >= limit));
      }
      // Asked again, even with another serial, the answer stays.
      v1::OpenPushRequest again = request;
      again.set_read_serial(random.Below(office.last_serial() + 1));
      const auto repeated = office.Open(policy, again);
      REQUIRE(repeated.ok() == ticket.ok());
      if (ticket.ok()) {
        REQUIRE(repeated->SerializeAsString() == ticket->SerializeAsString());
      } else {
        REQUIRE(repeated.status() == ticket.status());
      }
      REQUIRE(office.refused() == refused);
      REQUIRE(office.last_serial() == accepted);
      const bool far_behind =
          !in_doubt[worker].empty() && clock[worker] - in_doubt[worker].begin()->second >= kMostBehind;
      if (far_behind || random.Chance(0.05)) {
        // All that a shard may not have counted: it counts in the order of the steps, and one before may be missing.
        const std::vector<std::uint64_t> serials = office.Void(worker, incarnation[worker]);
        const std::set<std::uint64_t> voided(serials.begin(), serials.end());
        REQUIRE(voided.size() == serials.size());
        for (const auto& [serial, at] : in_doubt[worker]) REQUIRE(voided.count(serial) == 1);
        for (const auto& [serial, at] : given[worker]) {
          REQUIRE((voided.count(serial) == 1 || clock[worker] - at >= PushWindow::kAhead));
        }
        for (const std::uint64_t serial : voided) REQUIRE(given[worker].count(serial) == 1);
        in_doubt[worker].clear();
        given[worker].clear();
        ++incarnation[worker];
      } else if (random.Chance(0.9)) {
        office.Settle(worker, incarnation[worker], clock[worker]);
        if (ticket.ok()) in_doubt[worker].erase(ticket->serial());
      }
      ++clock[worker];
    }
    CHECK(accepted + refused == opened);
    CHECK(accepted > 0);
    CHECK(none == (refused == 0));
  }
}

}  // namespace
}  // namespace leeway
