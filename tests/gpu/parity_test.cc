// The parity suite on the CPU: it can fail where no GPU is. And that it finds what it is there to find.
#include "tests/gpu/parity.h"

#include <limits>

#include "kernels/device.h"
#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("every op of the cpu backend is within its tolerance of the reference") {
  const absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("cpu", 1);
  REQUIRE(backend.ok());
  // The large shapes are for GPUs: here the time would go into the reference alone.
  Parity parity(**backend, {.small = true});
  parity.RunAll();
  CHECK(parity.rows().size() > 150);
  for (const ParityRow& row : parity.rows()) {
    INFO(row.name << ": " << row.failure);
    CHECK(row.failure.empty());
  }
}

TEST_CASE("a group of cases is run alone, and another name is refused") {
  const absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("cpu", 1);
  REQUIRE(backend.ok());
  Parity parity(**backend, {.small = true});
  REQUIRE(parity.RunGroup("attention").ok());
  CHECK(!parity.rows().empty());
  for (const ParityRow& row : parity.rows()) CHECK_THAT(row.name, Catch::Contains("attention"));
  CHECK_THAT(std::string(parity.RunGroup("vectors").message()), Catch::Contains("'vectors'"));
}

TEST_CASE("the suite finds an error, a NaN, an element left out, one too many, and other bits") {
  const absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("cpu", 1);
  REQUIRE(backend.ok());
  Parity parity(**backend, {});
  Ops& ops = (*backend)->ops();
  int run = 0;
  // Fills `filled` of an output of 8 elements with a value; expected are 8 times 1.
  const auto failure = [&](std::size_t filled, const std::function<float()>& value) {
    parity.Run("fill", false, [&] {
      const Array out = parity.Garbage(8);
      ops.Fill(parity.stream(), filled, value(), out.floats());
      parity.Expect(out, Doubles(8, 1.0), Doubles(8, 1.0), {});
    });
    return parity.rows().back().failure;
  };
  CHECK(failure(8, [] { return 1.0f; }).empty());
  CHECK(failure(8, [] { return 1 + 0x1p-22f; }).empty());
  CHECK_THAT(failure(8, [] { return 1 + 0x1p-21f; }), Catch::Contains("element 0"));
  CHECK_THAT(failure(8, [] { return std::numeric_limits<float>::quiet_NaN(); }), Catch::Contains("element 0"));
  CHECK_THAT(failure(7, [] { return 1.0f; }), Catch::Contains("element 7"));
  CHECK_THAT(failure(9, [] { return 1.0f; }), Catch::Contains("outside"));
  CHECK_THAT(failure(8, [&] { return run++ == 0 ? 1.0f : 1 + 0x1p-22f; }), Catch::Contains("other bits"));
}

}  // namespace
}  // namespace leeway
