#include "server/policy_book.h"

#include <algorithm>

namespace leeway {

bool PolicyBook::Begins(const v1::PolicyChange& change) const {
  return change.id() != 0 && !change.decided() && change.id() != change_.id();
}

bool PolicyBook::Decides(const v1::PolicyChange& change) const {
  return change.decided() && (change.id() != change_.id() || !change_.decided());
}

void PolicyBook::Follow(const v1::Policy& policy, const v1::PolicyChange& change,
                        const std::vector<v1::StepLimit>& read, const std::string& error) {
  const bool begins = Begins(change);
  const bool decides = Decides(change);
  policy_ = policy;
  if (change.id() == change_.id() && !decides) return;
  change_ = change;
  ack_.Clear();
  limits_.clear();
  if (begins) {
    ack_.set_id(change.id());
    ack_.set_error(error);
    if (!error.empty()) return;
    for (const v1::StepLimit& limit : read) {
      *ack_.add_read() = limit;
      limits_[{limit.worker_id(), limit.incarnation()}] = limit.clock();
    }
  }
  if (!decides) return;
  for (const v1::StepLimit& limit : change.limits()) {
    limits_[{limit.worker_id(), limit.incarnation()}] = limit.clock();
  }
}

std::uint64_t PolicyBook::Limit(std::uint32_t worker, std::uint64_t incarnation) const {
  const auto it = limits_.find({worker, incarnation});
  return std::max<std::uint64_t>(change_.first_round(), it == limits_.end() ? 0 : it->second);
}

const v1::Policy* PolicyBook::Of(std::uint32_t worker, std::uint64_t incarnation, std::uint64_t step) const {
  if (change_.id() == 0) return &policy_;
  const bool below = step < Limit(worker, incarnation);
  if (!change_.decided()) return below ? &policy_ : nullptr;
  return below ? &change_.previous() : &policy_;
}

const v1::Policy& PolicyBook::OfAdmitted(std::uint32_t worker, std::uint64_t incarnation, std::uint64_t step) const {
  const v1::Policy* policy = Of(worker, incarnation, step);
  return policy == nullptr ? policy_ : *policy;
}

const v1::Policy& PolicyBook::OfRound(std::uint64_t round) const {
  return change_.decided() && round < change_.first_round() ? change_.previous() : policy_;
}

}  // namespace leeway
