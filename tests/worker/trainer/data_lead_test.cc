#include "worker/trainer/data_lead.h"

#include "tests/catch.h"

namespace leeway {
namespace {

constexpr std::uint64_t kBatch = 10;
constexpr std::uint64_t kMany = 1'000'000;

// Steps of `step` each, from some moment on.
DataLead After(absl::Duration step, int steps, std::uint64_t part = kMany) {
  DataLead lead(kBatch, part);
  Instant now;
  for (int i = 0; i < steps; ++i) lead.StepBegins(now = now + step);
  return lead;
}

TEST_CASE("DataLead: one batch at a time where steps are long, or nobody knows yet") {
  for (const DataLead& lead : {After(absl::Milliseconds(51), 50), After(absl::Milliseconds(1), 1)}) {
    CHECK(lead.Wanted(0, kBatch) == kBatch);
    CHECK(lead.Wanted(4, kBatch - 4) == kBatch - 4);
    CHECK(lead.Wanted(kBatch, 0) == 0);
  }
}

TEST_CASE("DataLead: short steps have as many in hand as are used in its time, asked for by halves") {
  const DataLead lead = After(absl::Milliseconds(2), 2);  // 25 steps
  CHECK(lead.Wanted(0, kBatch) == 250);
  CHECK(lead.Wanted(5, 5) == 245);
  CHECK(lead.Wanted(120, 0) == 130);
  CHECK(lead.Wanted(125, 0) == 0);
  CHECK(lead.Wanted(300, 0) == 0);
  CHECK(After(absl::ZeroDuration(), 2).Wanted(0, kBatch) > 0);  // a clock that stands still
}

TEST_CASE("DataLead: a slow step is forgotten") {
  DataLead lead(kBatch, kMany);
  Instant now;
  lead.StepBegins(now);
  lead.StepBegins(now = now + absl::Seconds(1));
  CHECK(lead.Wanted(0, kBatch) == kBatch);
  for (int i = 0; i < 40; ++i) lead.StepBegins(now = now + absl::Milliseconds(5));
  CHECK(lead.Wanted(0, kBatch) > 8 * kBatch);
  CHECK(lead.Wanted(0, kBatch) <= 10 * kBatch);
}

TEST_CASE("DataLead: of a small data set no worker takes more than its share ahead, and always whole batches") {
  const DataLead lead = After(absl::Milliseconds(1), 5, 8 * 37);
  CHECK(lead.Wanted(0, kBatch) == 30);
  CHECK(lead.Wanted(10, 0) == 20);
  CHECK(lead.Wanted(15, 0) == 0);
  const DataLead tiny = After(absl::Milliseconds(1), 5, 8 * kBatch - 1);
  CHECK(tiny.Wanted(0, kBatch) == kBatch);
  CHECK(tiny.Wanted(kBatch, 0) == 0);
}

}  // namespace
}  // namespace leeway
