#include "tests/gpu/bench.h"

#include <cstdio>
#include <cstdlib>
#include <random>

#include "kernels/cuda/cuda_status.h"

extern "C" leeway::CudaFactory leeway_new_cuda_backend_2;

namespace leeway {
namespace {

std::unique_ptr<Backend> MakeCudaBackend(const CudaOptions& options) {
  absl::StatusOr<std::unique_ptr<Backend>> made = absl::UnknownError("");
  leeway_new_cuda_backend_2(options, &made);
  return OrDie(std::move(made));
}

}  // namespace

void OrDie(const absl::Status& status) {
  if (status.ok()) return;
  std::fflush(stdout);
  std::fprintf(stderr, "benchmark: %s\n", status.ToString().c_str());
  std::exit(1);
}

void OrDie(cudaError_t error) { OrDie(CudaStatus(error, "CUDA")); }

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Benchmark::Benchmark(const Options& options)
    : options_(options), backend_(MakeCudaBackend(options.cuda)), stream_(OrDie(backend_->NewStream())) {
  OrDie(cudaEventCreate(&start_));
  OrDie(cudaEventCreate(&stop_));
}

Benchmark::~Benchmark() {
  static_cast<void>(cudaEventDestroy(start_));
  static_cast<void>(cudaEventDestroy(stop_));
}

std::unique_ptr<Backend> Benchmark::NewBackend(bool tf32) const {
  CudaOptions options = options_.cuda;
  options.tf32 = tf32;
  return MakeCudaBackend(options);
}

double Benchmark::Seconds(const std::function<void(std::size_t set)>& call) {
  const std::size_t repeats = tiny() ? 3 : 24;
  for (std::size_t set = 0; set < kSets; ++set) call(set);
  std::vector<double> times;
  for (std::size_t i = 0; i < repeats; ++i) {
    OrDie(cudaEventRecord(start_, stream().handle()));
    call(i % kSets);
    OrDie(cudaEventRecord(stop_, stream().handle()));
    OrDie(cudaEventSynchronize(stop_));
    float milliseconds = 0;
    OrDie(cudaEventElapsedTime(&milliseconds, start_, stop_));
    times.push_back(1e-3 * static_cast<double>(milliseconds));
  }
  OrDie(stream().Synchronize());
  return Median(std::move(times));
}

std::vector<DeviceMemory> Benchmark::Random(std::int64_t count, DataType type, std::size_t sets) {
  // Longer buffers repeat these.
  std::vector<float> values(static_cast<std::size_t>(std::min<std::int64_t>(count, 1 << 20)));
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
  for (float& value : values) value = uniform(generator);
  const DeviceMemory source = Memory(values.size() * sizeof(float));
  backend_->CopyToDevice(stream(), source.as<void>(), values.data(), source.bytes());
  std::vector<DeviceMemory> buffers;
  for (std::size_t set = 0; set < sets; ++set) {
    DeviceMemory memory = Memory(static_cast<std::size_t>(count) * SizeOf(type));
    for (std::size_t at = 0; at < static_cast<std::size_t>(count); at += values.size()) {
      const std::size_t piece = std::min(values.size(), static_cast<std::size_t>(count) - at);
      transformer().Cast(stream(), piece, {source.as<const void>(), DataType::kF32},
                         {DevicePtr<void>(memory.as<char>() + at * SizeOf(type)), type});
    }
    buffers.push_back(std::move(memory));
  }
  OrDie(stream().Synchronize());
  return buffers;
}

double Benchmark::MemoryRow(const std::string& name, double bytes, const std::function<void(std::size_t set)>& call) {
  if (copy_ == 0) TimeCopy();
  const double seconds = Seconds(call);
  const double share = bytes / seconds / copy_;
  std::printf("%-44s %9.1f us %8.0f GB/s %5.2f of copy\n", name.c_str(), seconds * 1e6, bytes / seconds * 1e-9, share);
  return share;
}

void Benchmark::TimeCopy() {
  const std::int64_t count = Scaled(64 << 20);
  const auto from = Random(count, DataType::kF32), to = Random(count, DataType::kF32);
  const double seconds = Seconds([&](std::size_t set) {
    OrDie(cudaMemcpyAsync(to[set].address(), from[set].address(), to[set].bytes(), cudaMemcpyDeviceToDevice,
                          stream().handle()));
  });
  copy_ = 2 * static_cast<double>(to[0].bytes()) / seconds;
  std::printf("%-44s %9.1f us %8.0f GB/s\n", "device-to-device copy", seconds * 1e6, copy_ * 1e-9);
}

}  // namespace leeway
