// Memory, streams, events and the choice of a backend.
#include <cstring>
#include <thread>

#include "kernels/device.h"
#include "tests/kernels/device_fixture.h"

namespace leeway {
namespace {

TEST_CASE("memory is zeroed and aligned; none is asked for, none is given") {
  DeviceFixture device;
  for (const std::size_t bytes : {1, 63, 64, 4097}) {
    absl::StatusOr<DeviceMemory> memory = device.backend().Allocate(bytes);
    absl::StatusOr<HostMemory> host = device.backend().AllocateHost(bytes);
    REQUIRE(memory.ok());
    REQUIRE(host.ok());
    CHECK(memory->bytes() == bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(memory->address()) % 64 == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(host->address()) % 64 == 0);
    CHECK(device.Download<char>(*memory) == std::vector<char>(bytes, 0));
    CHECK(std::vector<char>(host->as<char>(), host->as<char>() + bytes) == std::vector<char>(bytes, 0));
  }
  absl::StatusOr<DeviceMemory> none = device.backend().Allocate(0);
  REQUIRE(none.ok());
  CHECK_FALSE(none->floats());
}

TEST_CASE("more memory than there is: an error, not a crash") {
  DeviceFixture device;
  for (const std::size_t bytes : {std::size_t{1} << 62, ~std::size_t{0}}) {
    CHECK(device.backend().Allocate(bytes).status().code() == absl::StatusCode::kResourceExhausted);
    CHECK(device.backend().AllocateHost(bytes).status().code() == absl::StatusCode::kResourceExhausted);
  }
}

TEST_CASE("a host twin carries data to the device and back") {
  DeviceFixture device;
  const DeviceMemory memory = device.Garbage(5);
  absl::StatusOr<HostMemory> twin = device.backend().HostTwin(memory);
  REQUIRE(twin.ok());
  CHECK(twin->bytes() == memory.bytes());
  for (int i = 0; i < 5; ++i) twin->floats()[i] = static_cast<float>(i);
  device.backend().CopyToDevice(device.stream(), memory.floats(), twin->address(), twin->bytes());
  CHECK(device.Download(memory) == Floats{0, 1, 2, 3, 4});
  device.ops().Scale(device.stream(), 5, 2.0f, memory.floats());
  device.backend().CopyToHost(device.stream(), twin->address(), memory.floats(), twin->bytes());
  REQUIRE(device.stream().Synchronize().ok());
  CHECK(twin->floats()[4] == 8.0f);
}

TEST_CASE("an error sticks to its stream: Synchronize returns it once, and so do those who waited for it") {
  DeviceFixture device;
  absl::StatusOr<std::unique_ptr<Event>> event = device.backend().NewEvent();
  absl::StatusOr<std::unique_ptr<Stream>> other = device.backend().NewStream();
  REQUIRE(event.ok());
  REQUIRE(other.ok());
  CHECK((*event)->Synchronize().ok());  // not recorded: reached

  const DeviceMemory x = device.Upload(Floats{1}), label = device.Upload(std::vector<std::int32_t>{7});
  const DeviceMemory sum = device.Garbage<LossSum>(1);
  device.ops().SoftmaxCrossEntropy(device.stream(), 1, 1, x.floats(), label.as<const std::int32_t>(), 1.0f, {},
                                   sum.as<LossSum>());
  device.stream().Record(**event);
  (*other)->WaitFor(**event);
  CHECK((*event)->Synchronize().code() == absl::StatusCode::kInvalidArgument);
  device.ops().Fill(device.stream(), 1, 5.0f, x.floats());  // the error is known: skipped
  CHECK((*other)->Synchronize().code() == absl::StatusCode::kInvalidArgument);
  CHECK(device.stream().Synchronize().code() == absl::StatusCode::kInvalidArgument);
  CHECK((*event)->Synchronize().code() == absl::StatusCode::kInvalidArgument);  // also when it is asked late
  CHECK(device.stream().Synchronize().ok());
  CHECK(device.Download(x) == Floats{1});
}

TEST_CASE("streams compute side by side") {
  DeviceFixture device;
  const Floats ones(64 * 64, 1.0f);
  const DeviceMemory x = device.Upload(ones), w = device.Upload(ones), bias = device.Upload(Floats(64, 0.0f));
  std::vector<DeviceMemory> results;
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 4; ++i) {
    results.push_back(device.Garbage(64 * 64));
    absl::StatusOr<std::unique_ptr<Stream>> stream = device.backend().NewStream();
    REQUIRE(stream.ok());
    streams.push_back(std::move(stream).value());
  }
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 50; ++repeat) {
        device.ops().LinearForward(*streams[i], {64, 64, 64}, x.floats(), w.floats(), bias.floats(),
                                   results[i].floats(), Activation::kNone);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < streams.size(); ++i) {
    CHECK(streams[i]->Synchronize().ok());
    CHECK(device.Download(results[i]) == Floats(64 * 64, 64.0f));
  }
}

TEST_CASE("--device: what is allowed is said") {
  const absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend("cpu", 1);
  REQUIRE(backend.ok());
  CHECK_THAT((*backend)->description(), Catch::StartsWith("cpu (oneDNN") && Catch::EndsWith("1 thread)"));
  for (const std::string name : {"", "gpu", "cuda", "cuda:", "cuda:x", "cuda:-1", "CPU", "cuda:99999999999"}) {
    const absl::Status status = MakeBackend(name, 1).status();
    CHECK(status == absl::InvalidArgumentError("--device=" + name + ": allowed are auto, cpu and cuda:N"));
  }
  for (const int threads : {-1, 0, 1025}) {
    CHECK(MakeBackend("cpu", threads).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace leeway
