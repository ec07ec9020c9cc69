// CoordinatorLink: a shard's line to the coordinator: it subscribes to the membership snapshots, has the shard
// carry them out, and reports whole pushes of rounds. Shard 0 uses it too, to itself: no special case.
//
// Thread safety: Start and Stop from one thread. Ownership: everything it is given outlives it; the executor
// must run one function at a time. Destroy it after the transport and the executor have run out.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/hash.h"
#include "common/mutex.h"
#include "common/retry.h"
#include "common/transport.h"
#include "server/era.h"
#include "server/shard.h"

namespace leeway {

class CoordinatorLink {
 public:
  struct Options {
    std::string coordinator;                 // host:port
    std::string address;                     // where workers reach this shard
    v1::LocalEndpoint local_endpoint;        // and where those on its machine do; host "": only there
    Era era;                                 // that the shard is in
    std::string lost;                        // not empty: it has nothing to go on from, and why
    std::function<void()> on_drain = [] {};  // this shard is to end; perhaps more than once
    // Whether the journal can be written; what is not OK is told to people, as pushes wait for it.
    std::function<absl::Status()> can_write = [] { return absl::OkStatus(); };
    // Asked once the coordinator has answered; what is not OK is the end.
    std::function<absl::Status()> check = [] { return absl::OkStatus(); };
    absl::Duration start_timeout = absl::Minutes(1);   // for the first contact
    absl::Duration give_up_after = absl::Minutes(10);  // without contact, later
  };

  CoordinatorLink(const Options& options, Shard* shard, Transport* transport, Clock* clock, Executor* executor)
      : options_(options),
        shard_(shard),
        transport_(transport),
        clock_(clock),
        executor_(executor),
        backoff_(HashString(options.address)) {}

  // `on_end` is called once, on the executor: OK when the run is FINISHED and the coordinator knows that we
  // know, or a RunFailure; ABORTED when the run is in another era than this shard, next_era(); FAILED_PRECONDITION and
  // the like when the coordinator or `check` refuses this shard; UNAVAILABLE when it could not be reached in time.
  void Start(std::function<void(absl::Status)> on_end);

  // From now on nothing is sent.
  void Stop();

  // After the end with ABORTED: where the shard has to begin anew.
  const Era& next_era() const { return next_era_; }

  bool reached() const { return reached_; }  // the coordinator has answered; from any thread

 private:
  void Watch();
  void Send();  // last_request_
  void WatchOn(std::uint64_t id, bool written);
  void OnWatch(absl::Status status, const v1::WatchReply& snapshot);
  void OnFailure(const absl::Status& status);
  void ReportRound();
  void OnReported(const absl::Status& status);
  void End(absl::Status status);
  bool stopped() LEEWAY_EXCLUDES(mu_);

  const Options options_;
  Shard* const shard_;
  Transport* const transport_;
  Clock* const clock_;
  Executor* const executor_;
  std::function<void(absl::Status)> on_end_;

  // Touched on the executor only.
  Era next_era_;
  Backoff backoff_;
  bool finishing_ = false;     // FINISHED is carried out; one more call tells the coordinator
  bool told_the_end_ = false;  // this is that call
  std::string failure_;        // of the run
  Instant last_contact_;
  Instant last_complaint_;
  v1::WatchRequest last_request_;  // what it says is safe
  std::uint64_t next_watch_ = 0;
  Instant last_written_;

  std::atomic<bool> reached_ = false;

  Mutex mu_;
  bool stopped_ LEEWAY_GUARDED_BY(mu_) = false;
  bool reporting_ LEEWAY_GUARDED_BY(mu_) = false;
  bool report_again_ LEEWAY_GUARDED_BY(mu_) = false;
};

}  // namespace leeway
