#include "cli/admin/top.h"

#include <unistd.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/display.h"
#include "cli/run_monitor.h"
#include "cli/signals.h"
#include "cli/status_client.h"
#include "cli/terminal.h"

namespace leeway {
namespace {

constexpr absl::Duration kRedraw = absl::Seconds(1);
constexpr absl::Duration kLook = absl::Milliseconds(100);  // for the first answer
constexpr absl::Duration kSilence = absl::Seconds(10);

}  // namespace

absl::StatusOr<int> WatchCluster(Transport* transport, const std::string& coordinator) {
  SignalWaiter signals;
  StatusClient client(transport, coordinator);
  RunMonitor monitor;
  LiveBlock block(STDOUT_FILENO);
  const absl::Time begun = absl::Now();
  for (;;) {
    client.Ask();
    if (const int signal = signals.Wait(monitor.observed() ? kRedraw : kLook); signal != 0) return 128 + signal;
    const absl::Time now = absl::Now();
    if (std::optional<v1::GetStatusReply> status = client.Take()) monitor.Observe(*std::move(status), now);
    if (monitor.observed()) {
      // The last column and row stay free: writing there would scroll or wrap.
      const ScreenSize screen = GetScreenSize(STDOUT_FILENO);
      block.Show(RenderBlock(monitor.now(), monitor.before(), {screen.columns - 1, screen.rows - 1}));
    }
    if (monitor.complete(now)) return 0;
    if (now - std::max(monitor.last_observed(), begun) < kSilence) continue;
    if (monitor.ending()) return 0;
    return absl::UnavailableError(
        absl::StrCat("no answer from the coordinator at ", coordinator, ": ", client.last_error().message()));
  }
}

}  // namespace leeway
