#include "worker/client/coordinator_client.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace leeway {
namespace {

constexpr absl::Duration kShortestInterval = absl::Milliseconds(50);

}  // namespace

CoordinatorClient::CoordinatorClient(Caller& caller, std::shared_ptr<ClusterView> view,
                                     std::function<std::uint64_t()> clock_of_worker)
    : caller_(caller), view_(std::move(view)), clock_of_worker_(std::move(clock_of_worker)) {}

template <typename Reply>
void CoordinatorClient::Send(const std::string& method, const google::protobuf::Message& request, Done<Reply> done,
                             absl::Duration attempt) {
  caller_.Call<Reply>(kCoordinator, "Coordinator/" + method, request, {},
                      [self = shared_from_this(), done = std::move(done)](absl::Status status, Decoded<Reply> reply) {
                        if (absl::IsFailedPrecondition(status)) self->view_->MarkExpired(status);
                        done(std::move(status), std::move(reply.message));
                      },
                      {.attempt = attempt});
}

void CoordinatorClient::StartHeartbeat(absl::Duration lease, absl::Duration news) {
  {
    MutexLock lock(mu_);
    interval_ = std::max(std::min(lease, news) / 3, kShortestInterval);
    unanswered_interval_ = std::max(lease / 3, kShortestInterval);
    // Answers that take longer than a lease are heard, too: over far links, or where the coordinator's disk is slow.
    attempt_ = std::min(2 * lease, Caller::kAttempt);
  }
  Heartbeat();
}

void CoordinatorClient::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
}

void CoordinatorClient::SetWaits(std::vector<v1::WaitUnderWay> waits) {
  MutexLock lock(mu_);
  waits_ = std::move(waits);
}

void CoordinatorClient::Heartbeat() {
  absl::Duration interval, attempt;
  v1::HeartbeatRequest request;
  bool send = false;
  {
    MutexLock lock(mu_);
    if (stopped_ || !view_->expired().ok()) return;
    interval = unanswered_ == 0 ? interval_ : unanswered_interval_;
    attempt = attempt_;
    send = unanswered_ < kMostUnanswered;
    if (send) {
      ++unanswered_;
      request.set_number(++sent_);
      *request.mutable_waits() = {waits_.begin(), waits_.end()};
    }
  }
  // Before it is answered: what renews the lease is that it arrives, and an answer may wait for the coordinator's disk.
  caller_.After(interval, [self = shared_from_this()] { self->Heartbeat(); });
  if (!send) return;
  *request.mutable_stamp() = view_->stamp();
  request.set_clock(clock_of_worker_());
  request.set_address_book_version(view_->address_book_version());
  const std::uint64_t number = request.number();
  Send<v1::HeartbeatReply>(
      "Heartbeat", request,
      [this, number](absl::Status status, v1::HeartbeatReply reply) {
        {
          MutexLock lock(mu_);
          --unanswered_;
          // A newer one has told more; and so has the next incarnation's join.
          if (stopped_ || number < answered_) return;
          answered_ = number;
          // With the lock, so that no older book comes after: nobody would ever bring the newer one again.
          if (status.ok() && !reply.shard_addresses().empty()) {
            caller_.SetShardAddresses({reply.shard_addresses().begin(), reply.shard_addresses().end()},
                                      {reply.local_endpoints().begin(), reply.local_endpoints().end()});
          }
        }
        if (status.ok()) {
          view_->Update(reply);
          if (reply.drain()) view_->SetDrain();
        } else if (!absl::IsFailedPrecondition(status)) {
          // Given up, or refused for good: the worker cannot go on, and says so as an expired member would.
          view_->MarkExpired(status);
        }
      },
      attempt);
}

void CoordinatorClient::AcquireData(v1::AcquireDataRequest request, Done<v1::AcquireDataReply> done) {
  *request.mutable_stamp() = view_->stamp();
  Send<v1::AcquireDataReply>("AcquireData", request,
                             [this, done = std::move(done)](absl::Status status, v1::AcquireDataReply reply) {
                               if (status.ok()) {
                                 view_->SetMembershipEpoch(reply.membership_epoch());
                                 view_->SetState(reply.state());
                               }
                               done(std::move(status), std::move(reply));
                             });
}

void CoordinatorClient::OpenPush(std::uint64_t clock, std::uint64_t read_serial, std::uint32_t samples,
                                 Done<v1::Ticket> done) {
  v1::OpenPushRequest request;
  *request.mutable_stamp() = view_->stamp();
  request.set_clock(clock);
  request.set_read_serial(read_serial);
  request.set_samples(samples);
  Send<v1::Ticket>("OpenPush", request, std::move(done));
}

void CoordinatorClient::CommitData(v1::CommitDataRequest request, std::function<void(absl::Status)> done) {
  *request.mutable_stamp() = view_->stamp();
  Send<v1::CommitDataReply>("CommitData", request,
                            [done = std::move(done)](absl::Status status, v1::CommitDataReply) { done(status); });
}

void CoordinatorClient::ReportProgress(v1::ReportProgressRequest request, std::function<void(absl::Status)> done) {
  *request.mutable_stamp() = view_->stamp();
  Send<v1::ReportProgressReply>("ReportProgress", request,
                                [this, done = std::move(done)](absl::Status status, v1::ReportProgressReply reply) {
                                  if (status.ok()) view_->SetState(reply.state());
                                  if (status.ok() && reply.drain()) view_->SetDrain();
                                  done(std::move(status));
                                });
}

void CoordinatorClient::Leave(v1::LeaveRequest request, absl::Duration attempt, Done<v1::LeaveReply> done) {
  *request.mutable_stamp() = view_->stamp();
  Send<v1::LeaveReply>("Leave", request, std::move(done), attempt);
}

}  // namespace leeway
