// TransportSuite: what every Transport and its server promise (common/transport.h), checked over any carrier.
//
// Thread safety: ScriptedHandler as RequestHandler's; the rest one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/transport.h"

namespace leeway {

// Answers PushPull with its request's clock and payload, holds PutWeights until it is told, refuses Push with a delay
// after which to come again, and names every other method in its error.
class ScriptedHandler final : public RequestHandler {
 public:
  static constexpr absl::Duration kDelay = absl::Milliseconds(70);

  void Handle(const std::string& method, Buffer request, ReplyCallback done) override;

  std::size_t held();
  void AwaitHeld(std::size_t count);
  void Release(const absl::Status& status);

 private:
  Mutex mu_;
  std::vector<ReplyCallback> held_ LEEWAY_GUARDED_BY(mu_);
};

struct CallResult {
  absl::Status status;
  Buffer reply;
};

// Calls and waits.
CallResult CallAndWait(Transport& transport, const std::string& address, const std::string& method,
                       const Buffer& request, absl::Duration timeout = absl::Seconds(20));

// PushPull of `bytes` with a ScriptedHandler: OK when they come back with the clock.
absl::Status PushPullThere(Transport& transport, const std::string& address, std::uint64_t clock,
                           const std::string& bytes);

// A server that runs.
struct ServerUnderTest {
  std::string address;
  std::function<void()> shutdown;
};

struct Carrier {
  std::function<ServerUnderTest(RequestHandler*)> serve;
  std::function<std::unique_ptr<Transport>()> transport;
  std::string nobody;  // an address at which nobody serves
};

// Has SECTIONs: to be called first thing in a TEST_CASE.
void CheckTransport(const Carrier& carrier);

}  // namespace leeway
