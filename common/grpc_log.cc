#include "common/grpc_log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>

#include <chrono>
#include <string>

#include "common/log.h"
#include "common/log_every.h"
#include "common/mutex.h"

namespace leeway {
namespace {

class ThinnedLog {
 public:
  explicit ThinnedLog(const char* library) : library_(library) {}

  void Write(spdlog::level::level_enum level, const char* file, int line, const char* message) {
    const Instant now{std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count()};
    std::uint64_t skipped = 0;
    {
      MutexLock lock(mu_);
      if (!every_.Due(now)) return;
      skipped = every_.skipped();
    }
    spdlog::log(level, "{}: {} ({}:{}; {} more since the last such line)", library_, message, file, line, skipped);
  }

 private:
  const char* const library_;
  Mutex mu_;
  LogEvery every_ LEEWAY_GUARDED_BY(mu_){absl::Seconds(1)};
};

// Never destroyed: both libraries have threads that outlive main().
ThinnedLog& GrpcLog() {
  static auto* log = new ThinnedLog("gRPC");
  return *log;
}
ThinnedLog& ProtobufLog() {
  static auto* log = new ThinnedLog("protobuf");
  return *log;
}

}  // namespace

void RouteLibraryLogs() {
  gpr_set_log_function([](gpr_log_func_args* line) {
    const bool error = line->severity == GPR_LOG_SEVERITY_ERROR;
    GrpcLog().Write(error ? spdlog::level::warn : spdlog::level::debug, line->file, line->line, line->message);
  });
  google::protobuf::SetLogHandler(
      [](google::protobuf::LogLevel level, const char* file, int line, const std::string& message) {
        const bool bad = level >= google::protobuf::LOGLEVEL_WARNING;
        ProtobufLog().Write(bad ? spdlog::level::warn : spdlog::level::debug, file, line, message.c_str());
      });
}

}  // namespace leeway
