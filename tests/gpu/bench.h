// Benchmark: what the groups of the GPU benchmark (groups.h) share: a backend, a stream with its clock, buffers of
// random numbers, and rows for work that memory alone limits. Whatever fails ends the program with a message.
//
// Times are of CUDA events, medians of calls that were timed one by one.
//
// Thread safety: none. Ownership: buffers must not outlive their Benchmark.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_plugin.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/ops.h"
#include "kernels/transformer_ops.h"
#include "kernels/vector_ops.h"

namespace leeway {

void OrDie(const absl::Status& status);
void OrDie(cudaError_t error);
template <typename T>
T OrDie(absl::StatusOr<T> value) {
  OrDie(value.status());
  return std::move(value).value();
}

double Median(std::vector<double> values);

// Memory of the device as the bfloat16 that it holds.
inline TypedPtr Half(const DeviceMemory& memory) { return {memory.as<void>(), DataType::kBf16}; }

class Benchmark {
 public:
  struct Options {
    CudaOptions cuda;
    bool tiny = false;     // sizes and counts that only show that everything runs
    bool verbose = false;  // say all that is known
  };
  // Buffers that take turns, so that together they are larger than the L2 cache.
  static constexpr std::size_t kSets = 4;

  explicit Benchmark(const Options& options);
  ~Benchmark();
  Benchmark(const Benchmark&) = delete;
  Benchmark& operator=(const Benchmark&) = delete;

  bool tiny() const { return options_.tiny; }
  bool verbose() const { return options_.verbose; }
  std::int64_t Scaled(std::int64_t size) const { return tiny() ? std::max<std::int64_t>(size / 64, 1) : size; }

  Backend& backend() { return *backend_; }
  // Another one on the same device.
  std::unique_ptr<Backend> NewBackend(bool tf32) const;
  CudaStream& stream() { return static_cast<CudaStream&>(*stream_); }
  Ops& ops() { return backend_->ops(); }
  TransformerOps& transformer() { return backend_->transformer_ops(); }
  VectorOps& vector_ops() { return backend_->vector_ops(); }

  // Seconds of `call(set)`, which enqueues on stream().
  double Seconds(const std::function<void(std::size_t set)>& call);

  DeviceMemory Memory(std::size_t bytes) { return OrDie(backend_->Allocate(bytes)); }
  // `sets` buffers of random numbers in [-1, 1).
  std::vector<DeviceMemory> Random(std::int64_t count, DataType type, std::size_t sets = kSets);

  // Times `call`, which moves `bytes`, prints its row and returns its share of what a device-to-device copy moves per
  // second. The copy is timed, with a row of its own, when the first row needs it.
  double MemoryRow(const std::string& name, double bytes, const std::function<void(std::size_t set)>& call);

 private:
  void TimeCopy();

  const Options options_;
  const std::unique_ptr<Backend> backend_;
  const std::unique_ptr<Stream> stream_;
  cudaEvent_t start_ = nullptr, stop_ = nullptr;
  double copy_ = 0;  // bytes read and written per second; 0: not timed yet
};

}  // namespace leeway
