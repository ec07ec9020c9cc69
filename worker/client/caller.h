// Caller: one worker's calls to its cluster. It knows the address of every server, tries again what may
// succeed, says every 10 s who cannot be reached and why, and gives up after a limit.
//
// Replies are delivered on the executor, so that decoding them blocks nobody else's replies; but weights, in pieces of
// 1 MiB, on the network's thread, which has just read them into its core's cache (Delivery::kInLine).
//
// Thread safety: any thread. Ownership: transport, clock and executor outlive Stop(); after it the Caller
// touches neither transport nor clock, and callbacks that it still holds may never be called.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/mutex.h"
#include "common/retry.h"
#include "common/rpc.h"
#include "common/transport.h"
#include "proto/coordinator.pb.h"
#include "worker/client/link_load.h"
#include "worker/client/outage.h"
#include "worker/client/shard_address.h"

namespace leeway {

// A shard's index, or the coordinator.
using Target = int;
inline constexpr Target kCoordinator = -1;

class Caller {
 public:
  // How long a server may hold a gated request before it answers not_yet.
  static constexpr absl::Duration kGateWait = absl::Seconds(5);
  // A server that answers so without having held the request for this long is not asked again at once.
  static constexpr absl::Duration kShortHold = absl::Milliseconds(50);
  // The deadline of one attempt, unless a call says another: a lost answer costs this much, and a held one must fit; a
  // chunk of 4 MiB needs 1.7 Mbit/s.
  static constexpr absl::Duration kAttempt = absl::Seconds(20);

  Caller(Transport& transport, Clock& clock, Executor& executor, std::string coordinator_address,
         absl::Duration give_up_after, std::uint64_t seed);

  // From now on shards of this machine are called over their unix sockets. `host`: HostId() of this process.
  void UseLocalSockets(std::string host);
  // The address book: `local` in the order of `addresses`, or empty. A unix socket that is not reached or whose
  // connection ends is given up for TCP until the next book; an UNAVAILABLE that the shard answers is only tried again.
  void SetShardAddresses(const std::vector<std::string>& addresses, const std::vector<v1::LocalEndpoint>& local = {});
  void SetGiveUpAfter(absl::Duration limit);

  // `done` gets the reply, or the first error that is not worth another attempt: UNAVAILABLE naming who, where
  // and why when the server could not be reached for the limit; CANCELLED after Stop; else the server's.
  // Where `done` runs. kInLine: a server's OK runs on the transport's thread, so `done` is short; all else on the
  // executor.
  enum class Delivery { kOnExecutor, kInLine };
  // Asked before each further attempt, on the executor: is the answer still worth it? Else `done` gets the last error.
  using Wanted = std::function<bool()>;
  // Which way a large message goes. Then each attempt needs room on the link: MayStart gives it to the first one.
  enum class Load { kNone, kUp, kDown };
  struct CallOptions {
    Delivery delivery = Delivery::kOnExecutor;
    Wanted wanted = nullptr;  // null: it always is
    absl::Duration attempt = kAttempt;
    Load load = Load::kNone;
  };
  void CallBytes(Target target, const std::string& method, Buffer request, ReplyCallback done, CallOptions options);

  template <typename Reply>
  void Call(Target target, const std::string& method, const google::protobuf::Message& request, const Buffer& payload,
            std::function<void(absl::Status, Decoded<Reply>)> done, CallOptions options) {
    CallBytes(
        target, method, EncodeMessage(request, payload),
        [done = std::move(done)](absl::Status status, Buffer bytes) {
          Decoded<Reply> reply;
          if (status.ok()) status = DecodeMessage(bytes, &reply.message, &reply.payload);
          done(std::move(status), std::move(reply));
        },
        std::move(options));
  }

  template <typename Reply>
  void Call(Target target, const std::string& method, const google::protobuf::Message& request, const Buffer& payload,
            std::function<void(absl::Status, Decoded<Reply>)> done) {
    Call<Reply>(target, method, request, payload, std::move(done), CallOptions());
  }

  // There is room for a call of this load, which has to be made. Else `again` runs on the executor when there may be.
  bool MayStart(Load load, std::function<void()> again) LEEWAY_EXCLUDES(mu_);

  // Runs `fn` on the executor after `delay`.
  void After(absl::Duration delay, std::function<void()> fn);

  // After Stop: as it was then.
  Instant Now() LEEWAY_EXCLUDES(mu_);
  Executor& executor() { return executor_; }
  std::uint64_t retries() const { return retries_; }
  // When a server last answered a message of Load::kUp; those that waited for its room find its answer counted.
  Instant LastAnswerUp() LEEWAY_EXCLUDES(mu_);
  // The last time that a call to it failed and was tried again. RESOURCE_EXHAUSTED: it had no room.
  struct Trouble {
    absl::Status status;  // OK: never
    Instant at;
  };
  Trouble LastTrouble(Target target) LEEWAY_EXCLUDES(mu_);

  // Waits for calls that are just being started; not from a callback.
  void Stop();

  // "the coordinator at 10.0.0.1:7000", "shard 2 at ...".
  std::string Describe(Target target);
  std::string Address(Target target);  // of that

 private:
  struct Attempts {
    Target target;
    std::string method;
    Buffer request;
    ReplyCallback done;
    CallOptions options;
    Backoff backoff;
    Instant began = {};        // the newest attempt
    absl::Status failed = {};  // how the one before it ended
  };

  void Attempt(std::shared_ptr<Attempts> call);
  void AttemptAgain(const std::shared_ptr<Attempts>& call);
  void FreeRoom(const Attempts& call, const absl::Status& status) LEEWAY_EXCLUDES(mu_);
  void Finish(const std::shared_ptr<Attempts>& call, absl::Status status, Buffer reply);
  Instant NowLocked() LEEWAY_REQUIRES(mu_);
  // Where `target` is called, and which address names it in messages.
  std::string DialedAddress(Target target) LEEWAY_REQUIRES(mu_);
  std::string NamedAddress(Target target) LEEWAY_REQUIRES(mu_);
  void LeaveLocalSocket(Target target, const std::string& dialed, const absl::Status& status);
  std::string DescribeLocked(Target target) LEEWAY_REQUIRES(mu_);

  Transport& transport_;
  Clock& clock_;
  Executor& executor_;
  const std::string coordinator_address_;
  std::atomic<std::uint64_t> retries_ = 0;

  Mutex mu_;
  CondVar started_;
  bool stopped_ LEEWAY_GUARDED_BY(mu_) = false;
  Instant now_ LEEWAY_GUARDED_BY(mu_);               // the clock, when it was asked last
  std::size_t starting_ LEEWAY_GUARDED_BY(mu_) = 0;  // calls on their way into the transport
  std::uint64_t seed_ LEEWAY_GUARDED_BY(mu_);
  absl::Duration give_up_after_ LEEWAY_GUARDED_BY(mu_);
  std::string host_ LEEWAY_GUARDED_BY(mu_);  // "": no local sockets
  std::vector<ShardAddress> shards_ LEEWAY_GUARDED_BY(mu_);
  // [0]: of the coordinator; [i + 1]: of shard i.
  std::vector<Trouble> troubles_ LEEWAY_GUARDED_BY(mu_);
  std::vector<Outage> outages_ LEEWAY_GUARDED_BY(mu_);
  LinkLoad up_ LEEWAY_GUARDED_BY(mu_);
  LinkLoad down_ LEEWAY_GUARDED_BY(mu_);
  Instant last_answer_up_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
