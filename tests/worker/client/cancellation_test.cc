#include "worker/client/cancellation.h"

#include <memory>
#include <vector>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("Cancellation: who listens is told once; who comes later is told at once") {
  Cancellation cancellation;
  int told = 0;
  const auto listener = cancellation.AddListener([&] { ++told; });
  CHECK_FALSE(cancellation.cancelled());
  cancellation.Cancel();
  cancellation.Cancel();
  CHECK(cancellation.cancelled());
  CHECK(told == 1);
  const auto late = cancellation.AddListener([&] { ++told; });
  CHECK(told == 2);
}

// A worker that joins again and again has a mailbox for each time.
TEST_CASE("Cancellation: a listener that has gone is not told, and nothing of it is kept") {
  Cancellation cancellation;
  int told = 0;
  std::vector<std::weak_ptr<int>> kept;
  for (int i = 0; i < 3; ++i) {
    auto used = std::make_shared<int>(i);
    kept.push_back(used);
    const auto listener = cancellation.AddListener([used, &told] { ++told; });
  }
  for (const std::weak_ptr<int>& used : kept) CHECK(used.expired());
  const auto stays = cancellation.AddListener([&] { ++told; });
  cancellation.Cancel();
  CHECK(told == 1);
}

}  // namespace
}  // namespace leeway
