#include "server/request_metrics.h"

#include <algorithm>
#include <memory>

namespace leeway {
namespace {

constexpr int kLastCode = 16;

}  // namespace

RequestMetrics::Method* RequestMetrics::Find(const std::string& method) {
  if (method == "ParameterServer/Push" || method == "ParameterServer/PushPull") return &pushes_;
  return method == "ParameterServer/Pull" ? &pulls_ : nullptr;
}

void RequestMetrics::Handle(const std::string& method, Buffer request, ReplyCallback done) {
  Method* const counted = Find(method);
  if (counted == nullptr) return next_->Handle(method, std::move(request), std::move(done));
  next_->Handle(method, std::move(request),
                [this, counted, from = clock_->Now(), done = std::move(done)](absl::Status status, Buffer reply) {
                  const int code = std::clamp(status.raw_code(), 0, kLastCode);
                  counted->answers[static_cast<std::size_t>(code)].fetch_add(1, std::memory_order_relaxed);
                  counted->seconds.Observe(absl::ToDoubleSeconds(clock_->Now() - from));
                  done(std::move(status), std::move(reply));
                });
}

void RequestMetrics::AddTo(MetricsPage* page) const {
  const auto add = [page](const std::string& what, const std::string& hint, const Method& method) {
    for (int code = 0; code <= kLastCode; ++code) {
      const std::uint64_t count = method.answers[static_cast<std::size_t>(code)].load(std::memory_order_relaxed);
      if (count == 0 && code != 0) continue;
      page->Counter("ps_" + what + "_requests_total", what + " requests that were answered, by gRPC status code",
                    static_cast<double>(count), {{"code", absl::StatusCodeToString(absl::StatusCode(code))}});
    }
    page->Histogram("ps_" + what + "_duration_seconds", "from a " + what + " request to its answer" + hint,
                    method.seconds.Counts());
  };
  add("push", ": applying it, and what it waited for", pushes_);
  add("pull", ": the time at the staleness gate, above all", pulls_);
}

}  // namespace leeway
