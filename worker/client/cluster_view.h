// ClusterView: what a worker knows of its cluster under one incarnation: who it is, the policy, how far the
// run is, whether it is still a member. Heartbeats write it; every request is stamped from it.
//
// Thread safety: any thread. The listener is called without locks held, from whichever thread brought news.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "proto/coordinator.pb.h"

namespace leeway {

class ClusterView {
 public:
  ClusterView(const v1::JoinReply& join, std::uint64_t incarnation, std::function<void()> listener);

  v1::Stamp stamp() const;
  v1::Policy policy() const;
  v1::RunState state() const;
  std::uint64_t samples() const;  // trained on by the whole cluster
  bool drain() const;             // this worker is to leave and end
  absl::Status expired() const;   // not OK: the cluster does not know this incarnation any more
  std::uint64_t address_book_version() const;

  void Update(const v1::HeartbeatReply& reply);
  void SetPolicy(const v1::Policy& policy);
  void SetState(v1::RunState state);
  void SetDrain();
  void SetMembershipEpoch(std::uint64_t epoch);
  void MarkExpired(const absl::Status& status);  // the first reason stays

 private:
  const std::function<void()> listener_;

  mutable Mutex mu_;
  v1::Stamp stamp_ LEEWAY_GUARDED_BY(mu_);
  v1::Policy policy_ LEEWAY_GUARDED_BY(mu_);
  v1::RunState state_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t samples_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::uint64_t address_book_version_ LEEWAY_GUARDED_BY(mu_);
  bool drain_ LEEWAY_GUARDED_BY(mu_) = false;
  absl::Status expired_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
