#include "worker/client/cluster_view.h"

#include <algorithm>
#include <utility>

namespace leeway {

ClusterView::ClusterView(const v1::JoinReply& join, std::uint64_t incarnation, std::function<void()> listener)
    : listener_(std::move(listener)),
      policy_(join.policy()),
      state_(join.state()),
      address_book_version_(join.address_book_version()) {
  stamp_.set_worker_id(join.worker_id());
  stamp_.set_incarnation(incarnation);
  stamp_.set_membership_epoch(join.membership_epoch());
  stamp_.set_policy_number(join.policy().number());
  stamp_.set_run_id(join.run_id());
}

v1::Stamp ClusterView::stamp() const {
  MutexLock lock(mu_);
  return stamp_;
}

v1::Policy ClusterView::policy() const {
  MutexLock lock(mu_);
  return policy_;
}

v1::RunState ClusterView::state() const {
  MutexLock lock(mu_);
  return state_;
}

std::uint64_t ClusterView::samples() const {
  MutexLock lock(mu_);
  return samples_;
}

bool ClusterView::drain() const {
  MutexLock lock(mu_);
  return drain_;
}

absl::Status ClusterView::expired() const {
  MutexLock lock(mu_);
  return expired_;
}

std::uint64_t ClusterView::address_book_version() const {
  MutexLock lock(mu_);
  return address_book_version_;
}

void ClusterView::Update(const v1::HeartbeatReply& reply) {
  {
    MutexLock lock(mu_);
    stamp_.set_membership_epoch(std::max(stamp_.membership_epoch(), reply.membership_epoch()));
    state_ = std::max(state_, reply.state());
    samples_ = std::max<std::uint64_t>(samples_, reply.samples());
    address_book_version_ = std::max<std::uint64_t>(address_book_version_, reply.address_book_version());
  }
  listener_();
}

void ClusterView::SetPolicy(const v1::Policy& policy) {
  {
    MutexLock lock(mu_);
    if (policy.number() <= policy_.number()) return;
    policy_ = policy;
    stamp_.set_policy_number(policy.number());
  }
  listener_();
}

void ClusterView::SetState(v1::RunState state) {
  {
    MutexLock lock(mu_);
    if (state <= state_) return;  // a run only goes forward; replies may overtake one another
    state_ = state;
  }
  listener_();
}

void ClusterView::SetDrain() {
  {
    MutexLock lock(mu_);
    if (drain_) return;
    drain_ = true;
  }
  listener_();
}

void ClusterView::SetMembershipEpoch(std::uint64_t epoch) {
  MutexLock lock(mu_);
  stamp_.set_membership_epoch(std::max<std::uint64_t>(stamp_.membership_epoch(), epoch));
}

void ClusterView::MarkExpired(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    if (!expired_.ok()) return;
    expired_ = status;
  }
  listener_();
}

}  // namespace leeway
