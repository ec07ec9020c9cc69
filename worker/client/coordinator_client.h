// CoordinatorClient: the coordinator's methods for one incarnation of a worker, and its heartbeat.
//
// A FAILED_PRECONDITION from any of them marks the view expired: the lease ran out.
//
// Thread safety: any thread; callbacks run on the caller's executor and must not block.
// Ownership: shared, because calls under way keep it; Stop() ends the heartbeat: no answer is heard after it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/mutex.h"
#include "proto/coordinator.pb.h"
#include "worker/client/caller.h"
#include "worker/client/cluster_view.h"

namespace leeway {

class CoordinatorClient : public std::enable_shared_from_this<CoordinatorClient> {
 public:
  template <typename Reply>
  using Done = std::function<void(absl::Status, Reply)>;

  // `clock_of_worker` is what heartbeats report: steps with a final verdict. Called on the executor.
  CoordinatorClient(Caller& caller, std::shared_ptr<ClusterView> view, std::function<std::uint64_t()> clock_of_worker);

  // One heartbeat every third of `lease`, or of `news` where a worker wants to hear more often than its lease asks for;
  // also while earlier ones are not answered (then every third of `lease`), until Stop().
  void StartHeartbeat(absl::Duration lease, absl::Duration news = absl::InfiniteDuration());
  void Stop();
  // What heartbeats say that the worker waits for, from the next one on.
  void SetWaits(std::vector<v1::WaitUnderWay> waits);

  // The requests' stamps are filled in.
  // While there is no data, the coordinator holds a request that is not ahead of need for some seconds.
  void AcquireData(v1::AcquireDataRequest request, Done<v1::AcquireDataReply> done);
  void OpenPush(std::uint64_t clock, std::uint64_t read_serial, std::uint32_t samples, Done<v1::Ticket> done);
  void CommitData(v1::CommitDataRequest request, std::function<void(absl::Status)> done);
  void ReportProgress(v1::ReportProgressRequest request, std::function<void(absl::Status)> done);
  // `attempt`: after which one that is lost is sent again.
  void Leave(v1::LeaveRequest request, absl::Duration attempt, Done<v1::LeaveReply> done);

 private:
  template <typename Reply>
  void Send(const std::string& method, const google::protobuf::Message& request, Done<Reply> done,
            absl::Duration attempt = Caller::kAttempt);
  void Heartbeat();

  // One for each third of the two leases that an attempt may take, and two from before. When no more may go, each of
  // these is sent again in its turn, so that one comes within each lease.
  static constexpr int kMostUnanswered = 8;

  Caller& caller_;
  const std::shared_ptr<ClusterView> view_;
  const std::function<std::uint64_t()> clock_of_worker_;

  Mutex mu_;
  bool stopped_ LEEWAY_GUARDED_BY(mu_) = false;
  absl::Duration interval_ LEEWAY_GUARDED_BY(mu_);             // where all are answered
  absl::Duration unanswered_interval_ LEEWAY_GUARDED_BY(mu_);  // else
  absl::Duration attempt_ LEEWAY_GUARDED_BY(mu_);
  int unanswered_ LEEWAY_GUARDED_BY(mu_) = 0;          // heartbeats
  std::uint64_t sent_ LEEWAY_GUARDED_BY(mu_) = 0;      // numbered from 1
  std::uint64_t answered_ LEEWAY_GUARDED_BY(mu_) = 0;  // the newest of them
  std::vector<v1::WaitUnderWay> waits_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
