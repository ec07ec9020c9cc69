#include "server/ps_http.h"

#include <chrono>
#include <utility>

#include "common/metrics.h"
#include "common/process_http.h"
#include "common/status_macros.h"
#include "server/coordinator/coordinator.h"
#include "server/page/page_handlers.h"
#include "server/ps_metrics.h"

namespace leeway {
namespace {

Instant SteadyNow() { return {std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count()}; }

}  // namespace

absl::StatusOr<std::unique_ptr<PsHttp>> PsHttp::Start(const std::string& name, std::uint32_t shard_index,
                                                      const Security& security) {
  std::unique_ptr<PsHttp> http(new PsHttp);
  ProcessHttp process{"ps", name, [http = http.get()] { return http->Ready(); }};
  process.security = security;
  if (shard_index == 0) process.handlers = PageHandlers([http = http.get()] { return http->Status(); }, SteadyNow);
  process.handlers["/metrics"] = [http = http.get()](const HttpRequest&) -> HttpResponse {
    return {.content_type = MetricsPage::kContentType, .body = http->Metrics()};
  };
  ASSIGN_OR_RETURN(http->server_, StartProcessHttp(std::move(process)));
  return http;
}

PsHttp::~PsHttp() = default;

void PsHttp::Serve(PsNode* node) {
  MutexLock lock(mu_);
  node_ = node;
}

void PsHttp::Leave() {
  MutexLock lock(mu_);
  node_ = nullptr;
  left_ = true;
}

absl::Status PsHttp::Ready() {
  MutexLock lock(mu_);
  if (node_ != nullptr) return node_->Ready();
  return absl::UnavailableError(left_ ? "this ps ends" : "reads its files");
}

absl::StatusOr<v1::GetStatusReply> PsHttp::Status() {
  MutexLock lock(mu_);
  if (node_ == nullptr) return absl::UnavailableError(left_ ? "this ps ends" : "reads its files");
  absl::StatusOr<v1::GetStatusReply> status = absl::UnavailableError("the run goes back to a checkpoint");
  node_->Look([&status](const PsNode::Parts& parts) { status = parts.coordinator->Status(); });
  return status;
}

std::string PsHttp::Metrics() {
  MutexLock lock(mu_);
  return PsMetricsText(node_);
}

}  // namespace leeway
