// DeviceFixture: what tests of ops share: a backend and its stream, and device memory with known values.
// LEEWAY_TEST_DEVICE=cuda:0 runs them on a GPU; without it they run on the CPU.
//
// Thread safety: none.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"
#include "tests/catch.h"
#include "tests/support/test_device.h"

namespace leeway {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

// `count` numbers in [-1, 1), the same for the same seed; few of them are 0.
inline Floats RandomFloats(std::int64_t count, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) value = uniform(generator);
  return values;
}

inline Doubles ToDoubles(const Floats& values) { return {values.begin(), values.end()}; }

inline Doubles Magnitudes(const Doubles& values) {
  Doubles magnitudes(values);
  for (double& value : magnitudes) value = std::abs(value);
  return magnitudes;
}

class DeviceFixture {
 public:
  explicit DeviceFixture(int threads = 1) {
    absl::StatusOr<std::unique_ptr<Backend>> made = MakeBackend(TestDevice(), threads);
    INFO(made.status().ToString());
    REQUIRE(made.ok());
    backend_ = std::move(made).value();
    absl::StatusOr<std::unique_ptr<Stream>> stream = backend_->NewStream();
    REQUIRE(stream.ok());
    stream_ = std::move(stream).value();
  }

  Backend& backend() { return *backend_; }
  Stream& stream() { return *stream_; }
  Ops& ops() { return backend_->ops(); }

  template <typename T>
  DeviceMemory Upload(const std::vector<T>& values) {
    absl::StatusOr<DeviceMemory> memory = backend_->Allocate(values.size() * sizeof(T));
    REQUIRE(memory.ok());
    backend_->CopyToDevice(*stream_, memory->template as<T>(), values.data(), memory->bytes());
    REQUIRE(stream_->Synchronize().ok());
    return std::move(memory).value();
  }

  // Filled with what no op may leave there.
  template <typename T = float>
  DeviceMemory Garbage(std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    std::memset(values.data(), 0x42, values.size() * sizeof(T));
    return Upload(values);
  }

  template <typename T = float>
  std::vector<T> Download(const DeviceMemory& memory) {
    std::vector<T> values(memory.bytes() / sizeof(T));
    backend_->CopyToHost(*stream_, values.data(), memory.template as<T>(), memory.bytes());
    const absl::Status status = stream_->Synchronize();
    INFO(status.ToString());
    REQUIRE(status.ok());
    return values;
  }

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
};

// Requires that `actual` is `expected` within what float32 sums of `length` products may be off, whatever their order:
// (length + 4) roundings of 2^-24, each of at most `magnitude`, the same sum over absolute values (Higham, Accuracy and
// Stability of Numerical Algorithms, section 3.1). A NaN is equal to a NaN alone.
inline void RequireClose(const Floats& actual, const Doubles& expected, const Doubles& magnitude, std::int64_t length) {
  REQUIRE(actual.size() == expected.size());
  REQUIRE(magnitude.size() == expected.size());
  const double roundings = static_cast<double>(length + 4) * 0x1.0p-24;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    const double off = std::abs(actual[i] - expected[i]);
    // Not `off > bound`: with a NaN on one side that would be false.
    if (off <= roundings * magnitude[i] + 1e-37) continue;
    INFO("element " << i << ": " << actual[i] << ", expected " << expected[i] << " within "
                    << roundings * magnitude[i]);
    REQUIRE(off <= roundings * magnitude[i] + 1e-37);
  }
}

}  // namespace leeway
