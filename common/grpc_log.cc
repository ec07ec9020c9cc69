#include "common/grpc_log.h"

#include <grpc/support/log.h>

#include <chrono>

#include "common/log.h"
#include "common/mutex.h"

namespace leeway {
namespace {

class Line {
 public:
  void Say(const gpr_log_func_args& args) {
    if (args.severity != GPR_LOG_SEVERITY_ERROR) {
      spdlog::debug("gRPC: {}", args.message);
      return;
    }
    MutexLock lock(mu_);
    const Instant now{std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1)};
    if (every_.Due(now)) {
      spdlog::warn("gRPC ({} more since the last line): {}", every_.skipped(), args.message);
    }
  }

 private:
  Mutex mu_;
  LogEvery every_ LEEWAY_GUARDED_BY(mu_){absl::Seconds(10)};
};

void Log(gpr_log_func_args* args) {
  static auto* line = new Line();  // gRPC's threads may outlive statics
  line->Say(*args);
}

}  // namespace

void TakeOverGrpcLog() {
  static const bool once = [] {
    gpr_set_log_function(Log);
    return true;
  }();
  (void)once;
}

}  // namespace leeway
