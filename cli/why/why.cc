#include "cli/why/why.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/coordinator_flag.h"
#include "cli/output_flag.h"
#include "cli/signals.h"
#include "cli/status_client.h"
#include "cli/why/wait_keeper.h"
#include "cli/why/wait_lines.h"
#include "cli/why/why_table.h"
#include "cli/why/why_trace.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/grpc_transport.h"
#include "common/security_flags.h"
#include "common/status_macros.h"
#include "worker/worker_flags.h"

ABSL_FLAG(std::string, trace, "",
          "leeway why: also write the single waits to this file, as a trace that Perfetto opens");

namespace leeway {
namespace {

constexpr absl::Duration kUnreachable = absl::Seconds(10);
constexpr absl::Duration kTick = absl::Milliseconds(20);

absl::StatusOr<v1::GetStatusReply> Ask(const std::string& coordinator) {
  ASSIGN_OR_RETURN(const Security security, SecurityFromFlags());
  const std::unique_ptr<Transport> transport = MakeGrpcTransport({.security = security});
  StatusClient client(transport.get(), coordinator, /*want_waits=*/true);
  SignalWaiter signals;
  WaitKeeper keeper;
  int most = 0;  // waits of one answer
  const absl::Time deadline = absl::Now() + kUnreachable;
  for (;;) {
    client.Ask();
    if (signals.Wait(kTick) != 0) return absl::CancelledError("interrupted");
    std::optional<v1::GetStatusReply> reply = client.Take();
    if (reply) {
      // Each answer has a part, as many waits as go into one answer until the rest is less. (Not until none is left: of
      // hundreds of workers one has always just reported.)
      const int waits = reply->waits_size();
      const bool all = waits == 0 || waits < most;
      most = std::max(most, waits);
      keeper.Take(&*reply);
      if (!all) continue;
      keeper.Give(&*reply);
      return *std::move(reply);
    }
    if (absl::Now() > deadline) {
      return absl::UnavailableError(absl::StrCat("no answer from the coordinator at ", coordinator, " for ",
                                                 absl::FormatDuration(kUnreachable), ": ",
                                                 client.last_error().message()));
    }
  }
}

absl::StatusOr<v1::GetStatusReply> Read(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kWaitsFile);
  const absl::StatusOr<std::string> bytes = RealFileSystem().Read(path);
  if (!bytes.ok()) {
    // It is written when the run has ended; until then its ps 0 can be asked.
    const absl::StatusOr<std::string> port = RealFileSystem().Read(absl::StrCat(directory, "/ps-0.port"));
    if (port.ok() && absl::IsNotFound(bytes.status())) {
      return absl::FailedPreconditionError(absl::StrCat("the run in ", directory,
                                                        " has not ended; while it goes on: leeway why --coordinator=",
                                                        std::string(absl::StripAsciiWhitespace(*port))));
    }
    return absl::Status(bytes.status().code(),
                        absl::StrCat(bytes.status().message(), ": the directory of a run by leeway run has this file"));
  }
  v1::GetStatusReply status;
  if (!status.ParseFromString(*bytes))
    return absl::DataLossError(absl::StrCat(path, ": this is no file of leeway run"));
  return status;
}

absl::Status Why(const std::vector<std::string>& words) {
  const char* variable = std::getenv("LEEWAY_COORDINATOR");  // is for other verbs, where there is a directory
  const std::string given = absl::GetFlag(FLAGS_coordinator);
  const bool both = !words.empty() && !given.empty() && !(variable != nullptr && given == variable);
  if (words.size() > 1 || both || (words.empty() && given.empty())) {
    return absl::InvalidArgumentError("usage: leeway why RUN_DIRECTORY, or leeway why --coordinator=HOST:PORT");
  }
  std::string coordinator;
  if (words.empty()) {
    ASSIGN_OR_RETURN(coordinator, CoordinatorFlag());
  }
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  ASSIGN_OR_RETURN(const v1::GetStatusReply status, words.empty() ? Ask(coordinator) : Read(words[0]));
  std::fputs((json ? WhyJson(status) : WhyText(status) + WaitLinesText(status)).c_str(), stdout);
  const std::string trace = absl::GetFlag(FLAGS_trace);
  if (trace.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(WriteAtomically(RealFileSystem(), trace, WhyTrace(status)));
  std::fprintf(stderr, "%s: %d waits%s; open it at https://ui.perfetto.dev or chrome://tracing\n", trace.c_str(),
               status.waits_size(),
               status.lost_waits() == 0 ? "" : absl::StrCat(", ", status.lost_waits(), " older ones are gone").c_str());
  return absl::OkStatus();
}

}  // namespace

int RunWhy(const std::vector<std::string>& words, int, char**) {
  const absl::Status status = Why(words);
  if (!status.ok()) ExitWithError(WithHint(status));
  return 0;
}

}  // namespace leeway
