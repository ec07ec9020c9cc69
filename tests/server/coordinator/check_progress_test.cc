#include "server/coordinator/check_progress.h"

#include <functional>
#include <limits>
#include <string>

#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

constexpr std::uint32_t kShards = 2;
constexpr std::size_t kWorkers = 10;

absl::Status Check(const v1::Progress& progress) { return CheckProgress(progress, kShards, kWorkers); }

v1::Progress Good() {
  v1::Progress progress;
  progress.set_samples(1000);
  progress.set_loss_sum(std::numeric_limits<double>::quiet_NaN());  // a model may diverge
  progress.set_device("cuda:0 (NVIDIA H100 80GB HBM3)");
  progress.mutable_seconds()->set_compute(12);
  progress.mutable_seconds()->set_blocked(3);
  for (std::uint32_t i = 0; i < kWorkers; ++i) {
    v1::BlockedOn& on = *progress.add_blocked_on();
    on.set_worker_id(i);
    on.set_seconds(0.25);
    v1::WaitTotal& wait = *progress.add_waits();
    wait.set_worker(i);
    wait.set_seconds(0.25);
  }
  v1::WaitTotal& wait = *progress.add_waits();
  wait.set_kind(v1::WAIT_COMMIT);
  wait.set_shard(kShards - 1);
  return progress;
}

TEST_CASE("progress: what workers report") {
  CHECK(Check({}) == absl::OkStatus());
  CHECK(Check(Good()) == absl::OkStatus());
}

TEST_CASE("progress: what no worker can have done is refused, and named") {
  const auto refused = [](const char* word, const std::function<void(v1::Progress*)>& change) {
    CAPTURE(word);
    v1::Progress progress = Good();
    change(&progress);
    CHECK(Says(Check(progress), Code::kInvalidArgument, {word}));
  };
  refused("device's name has 201 bytes", [](v1::Progress* p) { p->set_device(std::string(201, 'x')); });
  refused("printable", [](v1::Progress* p) { p->set_device("cpu\x1b[2J"); });
  for (const double wrong :
       {-1.0, 1e300, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    refused("seconds", [&](v1::Progress* p) { p->mutable_seconds()->set_blocked(wrong); });
    refused("seconds", [&](v1::Progress* p) { p->set_hidden_seconds(wrong); });
    refused("seconds blocked", [&](v1::Progress* p) { p->mutable_blocked_on(3)->set_seconds(wrong); });
    refused("seconds waited", [&](v1::Progress* p) { p->mutable_waits(3)->set_seconds(wrong); });
  }
  refused("blocked on is 10", [](v1::Progress* p) { p->mutable_blocked_on(0)->set_worker_id(kWorkers); });
  refused("waited for is 10", [](v1::Progress* p) { p->mutable_waits(0)->set_worker(kWorkers); });
  refused("shard that it waited for is 2", [](v1::Progress* p) { p->mutable_waits(kWorkers)->set_shard(kShards); });
  // Each good, and the same again and again.
  refused("blocked on is 11", [](v1::Progress* p) { *p->add_blocked_on() = p->blocked_on(0); });
  refused("totals of waits is 1000", [](v1::Progress* p) {
    while (p->waits_size() < 1000) *p->add_waits() = p->waits(0);
  });
}

}  // namespace
}  // namespace leeway
