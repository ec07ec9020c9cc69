// SimNetwork: the Transport seam inside one thread, in virtual time. Messages take seeded random times, overtake each
// other, come twice, or are lost; who is there can be parted from others. SimExecutor: the Executor seam on the same
// clock.
//
// Thread safety: none. Ownership: clock and random outlive the network; the network outlives its transports.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/executor.h"
#include "common/transport.h"
#include "tests/support/fake_clock.h"
#include "tests/support/random.h"

namespace leeway {

class SimNetwork {
 public:
  struct Faults {
    double loss = 0.02;       // of a request or a reply: the caller sees DEADLINE_EXCEEDED
    double duplicate = 0.03;  // of a request
    double unreachable = 0.02;
    double slow = 0.02;  // chance of a long way
    absl::Duration mean_delay = absl::Milliseconds(1);
    absl::Duration mean_slow_delay = absl::Milliseconds(300);
  };

  SimNetwork(FakeClock* clock, Random* random, const Faults& faults)
      : clock_(clock), random_(random), faults_(faults) {}

  void Serve(const std::string& address, RequestHandler* handler);  // null: nobody listens any more

  // The network as `client` sees it.
  std::unique_ptr<Transport> Connect(const std::string& client);

  // Nothing that `from` sends to `to` ("": to anybody) before `until` arrives; the other way it does.
  void Cut(const std::string& from, const std::string& to, Instant until);
  // For how long a server was away, or a link was cut, at most.
  absl::Duration longest_silence() const { return longest_silence_; }

  // Called with every answer of a server when it is given, before it travels.
  using Probe = std::function<void(const std::string& address, const std::string& method, const Buffer& request,
                                   const absl::Status& status, const Buffer& reply)>;
  void set_probe(Probe probe) { probe_ = std::move(probe); }
  // Called with every request, when a server gets it.
  using ArrivalProbe =
      std::function<void(const std::string& address, const std::string& method, const Buffer& request)>;
  void set_arrival_probe(ArrivalProbe probe) { arrival_probe_ = std::move(probe); }

  // What is wrong: a request that a server has not answered for longer than `limit`, or answered twice.
  std::optional<std::string> Complaint(absl::Duration limit) const;
  // Requests that servers hold now.
  std::size_t held() const { return held_.size(); }

 private:
  friend class SimTransport;
  struct Call;
  void Start(const std::shared_ptr<Call>& call, absl::Duration timeout);
  void Deliver(const std::shared_ptr<Call>& call);
  void Finish(const std::shared_ptr<Call>& call, absl::Status status, Buffer reply);
  absl::Duration Delay();
  bool IsCut(const std::string& from, const std::string& to) const;

  FakeClock* const clock_;
  Random* const random_;
  const Faults faults_;
  Probe probe_;
  ArrivalProbe arrival_probe_;
  std::map<std::string, RequestHandler*> servers_;
  std::map<std::pair<std::string, std::string>, Instant> cut_since_;
  std::map<std::pair<std::string, std::string>, Instant> cut_until_;
  std::map<std::string, Instant> away_since_;
  absl::Duration longest_silence_;
  struct Held {
    std::string what;
    Instant since;
  };
  std::map<std::uint64_t, Held> held_;  // by delivery
  std::uint64_t next_delivery_ = 1;
  std::string twice_;
};

class SimExecutor final : public Executor {
 public:
  SimExecutor(FakeClock* clock, Random* random) : clock_(clock), random_(random) {}

  // What is posted runs a little later, in the order of posting, and one at a time: what comes while one blocks (a
  // Waiter lets others go on meanwhile) has to wait.
  void Post(std::function<void()> fn) override;

 private:
  void Run(std::function<void()> fn);

  FakeClock* const clock_;
  Random* const random_;
  Instant last_;
  bool busy_ = false;
  std::deque<std::function<void()>> waiting_;
};

}  // namespace leeway
