#include "kernels/cpu/cpu_backend.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "dnnl.hpp"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/cpu_stream.h"
#include "kernels/cpu/cpu_transformer_ops.h"
#include "kernels/cpu/cpu_vector_ops.h"

namespace leeway {
namespace {

constexpr int kMaxThreads = 1024;
constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

// Zeroed; null when there is not that much memory. More than the machine has is not even tried: Linux would promise it,
// and kill the process when the zeros are written.
void* AlignedZeros(std::size_t bytes) {
  static const std::size_t machine =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (bytes > machine) return nullptr;
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory != nullptr) std::memset(memory, 0, rounded);
  return memory;
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads) : threads_(threads), engine_(dnnl::engine::kind::cpu, 0), ops_(engine_, threads) {}

  std::string description() const override {
    const dnnl_version_t& version = *dnnl::version();
    return absl::StrCat("cpu (oneDNN ", version.major, ".", version.minor, ".", version.patch, ", ", threads_,
                        threads_ == 1 ? " thread)" : " threads)");
  }

  absl::StatusOr<DeviceMemory> Allocate(std::size_t bytes) override { return New<DeviceMemory>(bytes); }
  absl::StatusOr<HostMemory> AllocateHost(std::size_t bytes) override { return New<HostMemory>(bytes); }
  absl::StatusOr<HostMemory> HostTwin(const DeviceMemory& memory) override {
    return HostMemory(memory.address(), memory.bytes(), nullptr);
  }

  absl::StatusOr<std::unique_ptr<Stream>> NewStream() override {
    return std::make_unique<CpuStream>(*this, engine_, threads_);
  }
  absl::StatusOr<std::unique_ptr<Event>> NewEvent() override { return std::make_unique<CpuEvent>(); }

  void CopyToDevice(Stream& stream, DevicePtr<void> destination, const void* source, std::size_t bytes) override {
    Copy(stream, destination.address(), source, bytes);
  }
  void CopyToHost(Stream& stream, void* destination, DevicePtr<const void> source, std::size_t bytes) override {
    Copy(stream, destination, source.address(), bytes);
  }

  Ops& ops() override { return ops_; }
  TransformerOps& transformer_ops() override { return transformer_ops_; }
  VectorOps& vector_ops() override { return vector_ops_; }

 private:
  template <typename Memory>
  static absl::StatusOr<Memory> New(std::size_t bytes) {
    if (bytes == 0) return Memory();
    void* memory = AlignedZeros(bytes);
    if (memory == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat("cpu: cannot allocate ", bytes, " bytes"));
    }
    return Memory(memory, bytes, [](void* address) { std::free(address); });
  }

  static void Copy(Stream& stream, void* destination, const void* source, std::size_t bytes) {
    static_cast<CpuStream&>(stream).Run("copy", [&] {
      if (bytes > 0 && destination != source) std::memcpy(destination, source, bytes);
      return absl::OkStatus();
    });
  }

  const int threads_;
  const dnnl::engine engine_;
  CpuOps ops_;
  CpuTransformerOps transformer_ops_;
  CpuVectorOps vector_ops_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(int threads) {
  if (threads < 1 || threads > kMaxThreads) {
    return absl::InvalidArgumentError(
        absl::StrCat("cpu: ", threads, " compute threads; allowed are 1 to ", kMaxThreads));
  }
  try {
    return std::make_unique<CpuBackend>(threads);
  } catch (const dnnl::error& error) {
    return absl::InternalError(absl::StrCat("cpu: oneDNN does not start: ", error.what()));
  }
}

}  // namespace leeway
