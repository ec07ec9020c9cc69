#include "cli/why/wait_lines.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/text_table.h"
#include "cli/why/why_table.h"
#include "common/wait_words.h"

namespace leeway {
namespace {

constexpr std::size_t kColumns = 80;
constexpr std::size_t kMostLines = 8;

struct Waiter {
  const v1::WorkerStatus* worker;
  const v1::WaitUnderWay* wait;

  // Ascending in the order of the lines.
  std::tuple<int, double> Rank() const {
    const int kind = !wait->error().empty() ? 0 : wait->kind() != v1::WAIT_GATE ? 1 : 2;
    return {kind, -static_cast<double>(wait->millis())};
  }
};

}  // namespace

std::vector<std::string> WaitLines(const v1::GetStatusReply& status, std::size_t most) {
  std::vector<Waiter> waiters;
  for (const v1::WorkerStatus& worker : status.workers()) {
    for (const v1::WaitUnderWay& wait : worker.waits_under_way()) waiters.push_back({&worker, &wait});
  }
  std::stable_sort(waiters.begin(), waiters.end(),
                   [](const Waiter& a, const Waiter& b) { return a.Rank() < b.Rank(); });
  std::vector<std::string> lines;
  for (const auto& [worker, wait] : waiters) {
    if (lines.size() == most) {
      lines.push_back(absl::StrCat("waiting: ", waiters.size() - most, " more"));
      break;
    }
    const auto name_of = [&, waiter = worker->worker_id()](std::uint32_t id) {
      return id == waiter ? std::string(kItsOwnPush) : NameOfWorker(status, id);
    };
    lines.push_back(Printable(
        absl::StrCat("waiting: ", NameOfWorker(status, worker->worker_id()), " for ", WaitWords(*wait, name_of))));
  }
  return lines;
}

std::string WaitLinesText(const v1::GetStatusReply& status) {
  std::string text;
  for (const std::string& line : WaitLines(status, kMostLines)) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    absl::StrAppend(&text, absl::StrJoin(WrapWords(words, " ", kColumns), "\n"), "\n");
  }
  return text;
}

}  // namespace leeway
