#include "server/coordinator/ticket_office.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/max_delay.h"

namespace leeway {
namespace {

constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();

}  // namespace

absl::StatusOr<v1::Ticket> TicketOffice::Open(const v1::Policy& policy, const v1::OpenPushRequest& request) {
  const Key key{request.stamp().worker_id(), request.stamp().incarnation(), request.clock()};
  if (const auto it = decisions_.find(key); it != decisions_.end()) {
    if (!it->second.status.ok()) return it->second.status;
    return it->second.ticket;
  }
  if (request.read_serial() > last_serial_) {
    return absl::InvalidArgumentError(absl::StrCat("ticket: weights read at serial ", request.read_serial(),
                                                   ", but the last serial given is ", last_serial_));
  }
  const auto first = decisions_.lower_bound({request.stamp().worker_id(), request.stamp().incarnation(), 0});
  const auto end = decisions_.upper_bound({request.stamp().worker_id(), request.stamp().incarnation(), kLast});
  const auto remembered = static_cast<std::size_t>(std::distance(first, end));
  if (remembered >= 4 * kRemembered) {
    return absl::ResourceExhaustedError(absl::StrCat("ticket: worker ", request.stamp().worker_id(), " has ",
                                                     remembered, " pushes that it never committed"));
  }
  // Nobody waits for the answer any more, and nobody would bring the push.
  if (remembered >= kRemembered && key < first->first) {
    return absl::AbortedError(absl::StrCat("push of step ", request.clock(), " was decided on before, and is over"));
  }
  Decision decision;
  const std::uint64_t delay = last_serial_ - request.read_serial();
  // Serials are given to accepted pushes alone, so the last one is their number.
  if (const auto limit = DelayLimit(policy, last_serial_); limit && delay >= *limit) {
    ++refused_;
    decision.settled = true;
    decision.status =
        absl::AbortedError(absl::StrCat("push of step ", request.clock(), " refused: delay ", delay, " >= max_delay ",
                                        *limit, policy.max_delay_sqrt() ? ", by sqrt now" : "", " (read at serial ",
                                        request.read_serial(), ", now ", last_serial_, ")"));
  } else {
    decision.ticket.set_serial(++last_serial_);
    decision.ticket.set_delay(delay);
    const bool scale = policy.delay_policy() == v1::SCALE;
    decision.ticket.set_rate_scale(scale ? 1.0 / static_cast<double>(std::max<std::uint64_t>(1, delay)) : 1.0);
    if (decision.ticket.rate_scale() < 1) ++scaled_;
    decision.ticket.set_samples_before(samples_);
    decision.samples = request.samples();
    samples_ += request.samples();
  }
  decisions_.emplace(key, decision);
  Forget(request.stamp().worker_id(), request.stamp().incarnation());
  if (!decision.status.ok()) return decision.status;
  return decision.ticket;
}

void TicketOffice::Forget(std::uint32_t worker, std::uint64_t incarnation) {
  auto first = decisions_.lower_bound({worker, incarnation, 0});
  const auto end = decisions_.upper_bound({worker, incarnation, kLast});
  auto count = static_cast<std::size_t>(std::distance(first, end));
  while (count > kRemembered && first->second.settled) {
    first = decisions_.erase(first);
    --count;
  }
}

void TicketOffice::Settle(std::uint32_t worker, std::uint64_t incarnation, std::uint64_t clock) {
  if (const auto it = decisions_.find({worker, incarnation, clock}); it != decisions_.end()) it->second.settled = true;
}

std::vector<std::uint64_t> TicketOffice::Void(std::uint32_t worker, std::uint64_t incarnation) {
  std::vector<std::uint64_t> serials;
  const auto first = decisions_.lower_bound({worker, incarnation, 0});
  const auto end = decisions_.upper_bound({worker, incarnation, kLast});
  for (auto it = first; it != end; ++it) {
    if (it->second.status.ok()) serials.push_back(it->second.ticket.serial());
  }
  decisions_.erase(first, end);
  return serials;
}

void TicketOffice::Save(v1::TicketOfficeState* state) const {
  state->set_last_serial(last_serial_);
  state->set_samples(samples_);
  state->set_refused(refused_);
  for (const auto& [key, decision] : decisions_) {
    v1::TicketDecision& saved = *state->add_decisions();
    saved.set_worker_id(std::get<0>(key));
    saved.set_incarnation(std::get<1>(key));
    saved.set_clock(std::get<2>(key));
    saved.set_settled(decision.settled);
    saved.set_samples(decision.samples);
    if (decision.status.ok()) {
      *saved.mutable_ticket() = decision.ticket;
    } else {
      saved.set_refused(std::string(decision.status.message()));
    }
  }
}

absl::Status TicketOffice::Restore(const v1::TicketOfficeState& state) {
  last_serial_ = state.last_serial();
  samples_ = state.samples();
  refused_ = state.refused();
  std::set<std::uint64_t> serials;
  for (const v1::TicketDecision& saved : state.decisions()) {
    Decision decision;
    decision.settled = saved.settled();
    decision.samples = saved.samples();
    if (!saved.refused().empty()) {
      decision.status = absl::AbortedError(saved.refused());
    } else {
      decision.ticket = saved.ticket();
      const std::uint64_t serial = saved.ticket().serial();
      if (serial == 0 || serial > last_serial_ || !serials.insert(serial).second) {
        return absl::DataLossError(absl::StrCat("tickets: serial ", serial, " is given twice, or not 1 to ",
                                                last_serial_, ", the last given"));
      }
    }
    const Key key{saved.worker_id(), saved.incarnation(), saved.clock()};
    if (!decisions_.emplace(key, std::move(decision)).second) {
      return absl::DataLossError(absl::StrCat("tickets: two decisions on step ", saved.clock(), " of incarnation ",
                                              absl::Hex(saved.incarnation()), " of worker ", saved.worker_id()));
    }
  }
  return absl::OkStatus();
}

}  // namespace leeway
