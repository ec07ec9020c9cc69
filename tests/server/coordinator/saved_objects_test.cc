// The coordinator's plain objects, saved and restored: the restored one answers as the saved one does, whatever happens
// to both, and what nobody can have saved is refused or harmless.
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/coordinator_state.pb.h"
#include "server/coordinator/data_leases.h"
#include "server/coordinator/membership.h"
#include "server/coordinator/round_closer.h"
#include "server/coordinator/status_board.h"
#include "server/coordinator/stop_rule.h"
#include "server/coordinator/ticket_office.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using google::protobuf::util::MessageDifferencer;
using Code = absl::StatusCode;

constexpr int kSteps = 1000;

template <typename State, typename Object>
State Saved(const Object& object) {
  State state;
  object.Save(&state);
  return state;
}

// Flips, cuts and doubles bytes of it.
template <typename State>
State Damaged(Random& random, const State& state) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    std::string bytes = state.SerializeAsString();
    for (std::uint64_t i = random.Between(1, 3); i > 0 && !bytes.empty(); --i) {
      const std::size_t at = random.Below(bytes.size());
      switch (random.Below(4)) {
        case 0:
          bytes.resize(at);
          break;
        case 1:
          bytes += bytes.substr(at);
          break;
        default:
          bytes[at] = static_cast<char>(random.Bits());
      }
    }
    State damaged;
    if (damaged.ParseFromString(bytes)) return damaged;
  }
  return state;
}

// An object and, beside it, one that was restored from it some steps ago. `answer` performs one random step on an
// object and says what it answered; it is called twice with generators in the same state.
template <typename Object, typename State>
void CompareLives(const std::function<std::unique_ptr<Object>()>& make,
                  const std::function<absl::Status(Object&, const State&)>& restore,
                  const std::function<std::string(Object&, Random&, int step)>& answer) {
  Random random(TestSeed());
  std::unique_ptr<Object> original = make();
  std::unique_ptr<Object> restored;
  int compared = 0;
  for (int step = 0; step < kSteps; ++step) {
    if (step % 20 == 0) {
      const auto state = Saved<State>(*original);
      restored = make();
      const absl::Status status = restore(*restored, state);
      INFO(status.ToString() << "\n" << state.ShortDebugString());
      REQUIRE(status.ok());
      REQUIRE(MessageDifferencer::Equals(Saved<State>(*restored), state));
      // Anything may come of damage but a crash; what is taken for good behaves.
      const std::unique_ptr<Object> hostile = make();
      if (restore(*hostile, Damaged(random, state)).ok()) {
        Random other(random.Bits());
        for (int i = 0; i < 5; ++i) answer(*hostile, other, step);
      }
    }
    const std::uint64_t seed = random.Bits();
    Random first(seed);
    Random second(seed);
    const std::string expected = answer(*original, first, step);
    const std::string got = answer(*restored, second, step);
    if (!expected.empty()) ++compared;
    INFO("step " << step);
    REQUIRE(got == expected);
  }
  REQUIRE(compared > kSteps / 10);
}

std::string Text(const absl::Status& status) { return status.ToString(); }

TEST_CASE("DataLeases: restored, they hand out and count as before") {
  std::vector<v1::DataRange> given;  // of both: what they answer is the same
  CompareLives<DataLeases, v1::DataLeasesState>(
      [] {
        return std::make_unique<DataLeases>(DataLeases::Config{200, 0, 0, 2});
      },
      [](DataLeases& leases, const v1::DataLeasesState& state) { return leases.Restore(state); },
      [&given](DataLeases& leases, Random& random, int) {
        const auto worker = static_cast<std::uint32_t>(random.Below(4));
        const DataLeases::Holder holder{worker, 100 + worker};
        std::string text;
        const std::uint64_t kind = random.Below(10);
        if (kind < 5) {
          const auto range = leases.Acquire(holder, random.Below(30));
          if (range && given.size() < 2000) given.push_back(*range);
          text = range ? range->ShortDebugString() : "none";
        } else if (kind == 9) {
          if (random.Chance(0.2)) leases.GiveBackAll(holder);
        } else if (!given.empty()) {
          v1::DataRange part = given[given.size() - 1 - random.Below(std::min<std::size_t>(given.size(), 12))];
          if (random.Chance(0.3)) part.set_begin(part.begin() + random.Below(part.end() - part.begin()));
          if (kind == 8)
            leases.GiveBack(holder, part);
          else
            text = absl::StrCat(leases.Commit(holder, part, random.Chance(0.7)));
        }
        return absl::StrCat(text, " ", leases.epochs_done(), " ", leases.committed(), " ", leases.skipped(), " ",
                            leases.handed_out_again());
      });
}

TEST_CASE("DataLeases: what does not come out even is refused") {
  const auto restore = [](const std::function<void(v1::DataLeasesState*)>& change) {
    DataLeases leases({100, 3, 0, 3});
    leases.Acquire({1, 10}, 60);
    leases.Acquire({2, 20}, 60);
    auto state = Saved<v1::DataLeasesState>(leases);
    change(&state);
    return DataLeases({100, 3, 0, 3}).Restore(state);
  };
  CHECK(restore([](auto*) {}).ok());
  CHECK(Says(restore([](auto* s) { s->mutable_leases()->RemoveLast(); }), Code::kDataLoss, {"accounted"}));
  CHECK(Says(restore([](auto* s) { s->mutable_leases(1)->set_lease(1); }), Code::kDataLoss, {"lease 1"}));
  CHECK(
      Says(restore([](auto* s) { s->mutable_leases(1)->mutable_out(0)->set_begin(40); }), Code::kDataLoss, {"twice"}));
  CHECK(Says(restore([](auto* s) { s->set_next_epoch(1'000'000'000'000); }), Code::kDataLoss, {"1000000000000"}));
  CHECK(Says(restore([](auto* s) { (*s->mutable_done_in_epoch())[0] = 7; }), Code::kDataLoss, {"107"}));
}

TEST_CASE("Membership: restored, it admits, expires and numbers as before") {
  const Membership::Config config{2, 3, true, absl::Seconds(10), 1};
  const Instant now{1'000'000'000};  // it stands still: leases begin anew in a restored one
  CompareLives<Membership, v1::MembershipState>(
      [&config] { return std::make_unique<Membership>(config); },
      [now](Membership& membership, const v1::MembershipState& state) { return membership.Restore(now, state); },
      [now](Membership& membership, Random& random, int) {
        const std::string name = absl::StrCat("w", random.Below(6));
        const auto id = membership.IdOf(name);
        const v1::Member* member = id ? membership.Find(*id) : nullptr;
        std::uint64_t incarnation = member != nullptr ? member->incarnation() : random.Between(1, 5);
        if (random.Chance(0.1)) incarnation = random.Between(1, 5);
        const auto worker = id.value_or(static_cast<std::uint32_t>(random.Below(6)));
        std::string text;
        switch (random.Below(9)) {
          case 0:
          case 1:
          case 2: {
            Membership::Joiner joiner{name, incarnation, name == "w5" ? v1::EVALUATOR : v1::TRAINER, -1, 10};
            if (random.Chance(0.2)) joiner.rank = static_cast<std::int32_t>(random.Below(4));
            const auto joined = membership.Join(now, joiner);
            text = joined.ok() ? absl::StrCat(joined->accepted, joined->worker_id, joined->waiting)
                               : Text(joined.status());
            break;
          }
          case 3:
          case 4:
            membership.Acknowledge(static_cast<std::uint32_t>(random.Below(2)), worker, incarnation, random.Below(99));
            break;
          case 5:
            text = membership.Promote(std::nullopt) ? "promoted" : "";
            break;
          case 6:
            if (random.Chance(0.3)) text = Text(membership.Leave(worker, incarnation));
            break;
          case 7:
            membership.Park(worker);
            break;
          default:
            membership.Unpark(worker);
        }
        text += Text(membership.Renew(now, worker, incarnation));
        text += absl::StrCat(membership.epoch(), membership.started(), membership.StartWaitsFor());
        for (const auto& [key, other] : membership.members()) text += other.ShortDebugString();
        return text;
      });
}

TEST_CASE("Membership: after a restart a lease runs for one full term") {
  const Membership::Config config{1, 1, false, absl::Seconds(10)};
  Membership before(config);
  const Instant then{1'000'000'000'000};
  REQUIRE(before.Join(then, {"a", 7, v1::TRAINER, -1, 10}).ok());
  Membership after(config);
  const Instant now{5};  // another machine's clock may begin anew
  REQUIRE(after.Restore(now, Saved<v1::MembershipState>(before)).ok());
  CHECK(after.Expire(now + absl::Seconds(10)).empty());
  CHECK(after.Expire(now + absl::Seconds(11)).size() == 1);
}

TEST_CASE("Membership: two with one rank, a stranger, an installation on a ps that is not there") {
  const Membership::Config config{1, 2, false, absl::Seconds(10)};
  const Instant now{5};
  const auto restore = [&](const std::function<void(v1::MembershipState*)>& change) {
    Membership membership(config);
    REQUIRE(membership.Join(now, {"a", 7, v1::TRAINER, -1, 10}).ok());
    REQUIRE(membership.Join(now, {"b", 8, v1::TRAINER, -1, 10}).ok());
    membership.Acknowledge(0, 1, 8, 3);
    auto state = Saved<v1::MembershipState>(membership);
    change(&state);
    return Membership(config).Restore(now, state);
  };
  CHECK(restore([](auto*) {}).ok());
  CHECK(Says(restore([](auto* s) { s->mutable_members(1)->set_rank(0); }), Code::kDataLoss, {"'a'", "'b'", "rank 0"}));
  CHECK(Says(restore([](auto* s) { s->mutable_members(1)->set_name("c"); }), Code::kDataLoss, {"'c'"}));
  CHECK(Says(restore([](auto* s) { (*s->mutable_ids())["b"] = 0; }), Code::kDataLoss, {"worker id 0"}));
  CHECK(Says(restore([](auto* s) { (*s->mutable_installed(0)->mutable_clocks())[9] = 1; }), Code::kDataLoss, {"ps 9"}));
  CHECK(Says(restore([](auto* s) { s->set_epoch(0); }), Code::kDataLoss, {"epoch 0"}));
}

TEST_CASE("TicketOffice: restored, it gives the same ticket to who asks again, and the next serial to who does not") {
  v1::Policy policy;
  policy.set_max_delay(1);
  policy.set_max_delay_sqrt(true);
  policy.set_delay_policy(v1::SCALE);
  CompareLives<TicketOffice, v1::TicketOfficeState>(
      [] { return std::make_unique<TicketOffice>(); },
      [](TicketOffice& office, const v1::TicketOfficeState& state) { return office.Restore(state); },
      [&policy](TicketOffice& office, Random& random, int) {
        v1::OpenPushRequest request;
        request.mutable_stamp()->set_worker_id(static_cast<std::uint32_t>(random.Below(4)));
        request.mutable_stamp()->set_incarnation(random.Between(1, 2));
        request.set_clock(random.Below(100));
        request.set_samples(10);
        const std::uint64_t behind = random.Below(8);
        request.set_read_serial(office.last_serial() > behind ? office.last_serial() - behind : office.last_serial());
        const v1::Stamp& stamp = request.stamp();
        std::string text;
        const std::uint64_t kind = random.Below(10);
        if (kind < 6) {
          const auto ticket = office.Open(policy, request);
          text = ticket.ok() ? ticket->ShortDebugString() : Text(ticket.status());
        } else if (kind < 9) {
          office.Settle(stamp.worker_id(), stamp.incarnation(), request.clock());
        } else if (random.Chance(0.3)) {
          for (std::uint64_t serial : office.Void(stamp.worker_id(), stamp.incarnation()))
            absl::StrAppend(&text, serial, " ");
        }
        return absl::StrCat(text, " ", office.last_serial(), " ", office.refused());
      });
}

TEST_CASE("TicketOffice: a serial that was given twice, or not given yet") {
  v1::TicketOfficeState state;
  state.set_last_serial(2);
  for (std::uint64_t clock = 0; clock < 2; ++clock) {
    v1::TicketDecision& decision = *state.add_decisions();
    decision.set_clock(clock);
    decision.mutable_ticket()->set_serial(clock + 1);
  }
  CHECK(TicketOffice().Restore(state).ok());
  state.mutable_decisions(1)->mutable_ticket()->set_serial(1);
  CHECK(Says(TicketOffice().Restore(state), Code::kDataLoss, {"serial 1"}));
  state.mutable_decisions(1)->mutable_ticket()->set_serial(3);
  CHECK(Says(TicketOffice().Restore(state), Code::kDataLoss, {"serial 3", "1 to 2"}));
  state.mutable_decisions(1)->set_clock(0);
  state.mutable_decisions(1)->mutable_ticket()->set_serial(2);
  CHECK(Says(TicketOffice().Restore(state), Code::kDataLoss, {"two decisions"}));
}

const Instant kUntil = Instant() + absl::Seconds(10);

TEST_CASE("RoundCloser: restored, it closes the same rounds with the same contributors") {
  CompareLives<RoundCloser, v1::RoundCloserState>(
      [] { return std::make_unique<RoundCloser>(3, 2); },
      [](RoundCloser& rounds, const v1::RoundCloserState& state) { return rounds.Restore(state, kUntil); },
      [](RoundCloser& rounds, Random& random, int) {
        std::string text;
        if (random.Chance(0.1)) {
          rounds.Leave(static_cast<std::uint32_t>(random.Below(4)), rounds.open_round() + random.Below(3), kUntil);
        } else if (random.Chance(0.7)) {
          v1::ReportRoundRequest report;
          report.set_round(rounds.open_round());
          v1::RoundContribution& contribution = *report.add_complete();
          contribution.set_rank(static_cast<std::uint32_t>(random.Below(4)));
          contribution.set_samples(random.Below(30));
          contribution.set_usable(random.Chance(0.8));
          rounds.Report(static_cast<std::uint32_t>(random.Below(3)), report);
        } else {
          const auto close = random.Chance(0.05) ? rounds.Abandon() : rounds.TryClose({0, 1, 2});
          text = close ? close->ShortDebugString() : "open";
        }
        for (std::uint32_t rank : rounds.Missing({0, 1, 2, 3})) absl::StrAppend(&text, " ", rank);
        absl::StrAppend(&text, " owed");
        for (std::uint32_t rank : rounds.Owed(kUntil - absl::Seconds(1))) absl::StrAppend(&text, " ", rank);
        return text;
      });
  v1::RoundCloserState state;
  state.add_reports()->set_shard_index(3);
  CHECK(Says(RoundCloser(3, 0).Restore(state, kUntil), Code::kDataLoss, {"ps 3 of 3"}));
}

TEST_CASE("StopRule: restored, it has seen the same evaluations") {
  v1::StopConfig config;
  config.set_target_metric("loss");
  config.set_target_value(-1);
  config.set_patience(4);
  CompareLives<StopRule, v1::StopRuleState>(
      [&config] { return std::make_unique<StopRule>(config); },
      [](StopRule& rule, const v1::StopRuleState& state) { return rule.Restore(state); },
      [](StopRule& rule, Random& random, int) {
        v1::Evaluation evaluation;
        evaluation.set_loss(random.Unit());
        rule.Observe(evaluation);
        return rule.Check(0, 0, absl::ZeroDuration()).value_or("go on");
      });
  v1::StopRuleState state;
  state.set_best(std::numeric_limits<double>::quiet_NaN());
  CHECK(Says(StopRule(config).Restore(state), Code::kDataLoss, {"nan"}));
}

TEST_CASE("StatusBoard: restored, it tells the same history and goes on with it") {
  const Instant start{1'000'000'000};
  CompareLives<StatusBoard, v1::StatusBoardState>(
      [start] {
        auto board = std::make_unique<StatusBoard>();
        board->Start(start);
        return board;
      },
      [](StatusBoard& board, const v1::StatusBoardState& state) { return board.Restore(state); },
      [start](StatusBoard& board, Random& random, int step) {
        const Instant now = start + absl::Milliseconds(40 * step);
        v1::Member member;
        member.set_worker_id(static_cast<std::uint32_t>(random.Below(3)));
        member.set_incarnation(random.Chance(0.01) ? 2 : 1);
        v1::Progress progress;
        progress.set_samples(static_cast<std::uint64_t>(now.nanos / 10'000'000));
        progress.set_loss_sum(static_cast<double>(progress.samples()) * 0.5);
        v1::Evaluation evaluation;
        evaluation.set_loss(random.Unit());
        switch (random.Below(5)) {
          case 0:
            board.AddEvent(now, absl::StrCat("event ", random.Below(100)));
            break;
          case 1:
            board.AddEvaluation(now, evaluation);
            break;
          case 2:
            board.SetState(member.worker_id(), "w", v1::TRAINER, 0, "live", "");
            board.SetClock(member.worker_id(), random.Below(1000));
            break;
          default:
            board.AddProgress(now, member, progress, progress.samples());
        }
        v1::GetStatusReply reply;
        board.Fill(now + absl::Seconds(60), &reply);  // after the recent rates, which are not saved
        return reply.ShortDebugString();
      });
  v1::StatusBoardState state;
  CHECK(Says(StatusBoard().Restore(state), Code::kDataLoss, {"every 0 s"}));
}

}  // namespace
}  // namespace leeway
