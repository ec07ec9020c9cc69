// RequestMetrics: passes requests on, and counts those of the ParameterServer service: how they were answered, and how
// long that took.
//
// Thread safety: every method, from any thread; a request costs two readings of the clock and three atomics.
// Ownership: `next` and `clock` outlive it, and it outlives every answer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "common/atomic_histogram.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/transport.h"

namespace leeway {

class RequestMetrics final : public RequestHandler {
 public:
  RequestMetrics(RequestHandler* next, const Clock* clock) : next_(next), clock_(clock) {}

  void Handle(const std::string& method, Buffer request, ReplyCallback done) override;

  void AddTo(MetricsPage* page) const;

 private:
  struct Method {
    // By absl::StatusCode, 0 to 16.
    std::array<std::atomic<std::uint64_t>, 17> answers = {};
    AtomicHistogram seconds{SecondsBounds()};
  };
  // Null: a method that is not counted.
  Method* Find(const std::string& method);

  RequestHandler* const next_;
  const Clock* const clock_;
  Method pushes_;  // with PushPull, whose answer waits for its push alone
  Method pulls_;
};

}  // namespace leeway
