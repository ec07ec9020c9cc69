#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cuda_plugin.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/cuda_transformer_ops.h"
#include "kernels/cuda/cuda_vector_ops.h"

namespace leeway {
namespace {

// The oldest that there is machine code for (BUILD.bazel).
constexpr int kOldestMajor = 8;

// The `cuda` backend: one GPU.
class CudaBackend final : public Backend {
 public:
  static absl::StatusOr<std::unique_ptr<Backend>> Make(const CudaOptions& options) {
    int count = 0;
    if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
      return absl::UnavailableError(
          absl::StrCat("no GPU can be used here: ", std::string(CudaStatus(error, "cudaGetDeviceCount").message())));
    }
    if (options.device >= count) {
      return absl::UnavailableError(absl::StrCat("there is no GPU ", options.device, " here, only ", count));
    }
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaSetDevice(options.device));
    cudaDeviceProp properties{};
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaGetDeviceProperties(&properties, options.device));
    if (properties.major < kOldestMajor) {
      return absl::UnavailableError(absl::StrCat("GPU ", options.device, " (", properties.name,
                                                 ") has compute capability ", properties.major, ".", properties.minor,
                                                 "; ", kOldestMajor, ".0 is the oldest that is supported"));
    }
    cublasLtHandle_t cublas = nullptr;
    LEEWAY_RETURN_IF_CUBLAS_ERROR(cublasLtCreate(&cublas));
    return std::unique_ptr<Backend>(new CudaBackend(options, properties, cublas));
  }

  ~CudaBackend() override { static_cast<void>(cublasLtDestroy(cublas_)); }

  std::string description() const override { return description_; }

  absl::StatusOr<DeviceMemory> Allocate(std::size_t bytes) override {
    if (bytes == 0) return DeviceMemory();
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaSetDevice(options_.device));
    void* address = nullptr;
    RETURN_IF_ERROR(Allocated(cudaMalloc(&address, bytes), "cudaMalloc", bytes));
    DeviceMemory memory(address, bytes, [](void* owned) { static_cast<void>(cudaFree(owned)); });
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaMemset(address, 0, bytes));
    // The backend's streams do not wait for the default stream: the zeros must be there first.
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaStreamSynchronize(nullptr));
    return memory;
  }

  absl::StatusOr<HostMemory> AllocateHost(std::size_t bytes) override {
    if (bytes == 0) return HostMemory();
    static const std::size_t machine =
        static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    if (bytes > machine) return Allocated(cudaErrorMemoryAllocation, "cudaHostAlloc", bytes);
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaSetDevice(options_.device));
    void* address = nullptr;
    RETURN_IF_ERROR(Allocated(cudaHostAlloc(&address, bytes, cudaHostAllocPortable), "cudaHostAlloc", bytes));
    std::memset(address, 0, bytes);
    return HostMemory(address, bytes, [](void* owned) { static_cast<void>(cudaFreeHost(owned)); });
  }

  absl::StatusOr<HostMemory> HostTwin(const DeviceMemory& memory) override { return AllocateHost(memory.bytes()); }

  absl::StatusOr<std::unique_ptr<Stream>> NewStream() override {
    return CudaStream::Make(*this, options_.device, cublas_, options_.tf32);
  }
  absl::StatusOr<std::unique_ptr<Event>> NewEvent() override {
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaSetDevice(options_.device));
    return CudaEvent::Make();
  }

  void CopyToDevice(Stream& stream, DevicePtr<void> destination, const void* source, std::size_t bytes) override {
    Copy(stream, destination.address(), source, bytes, cudaMemcpyHostToDevice);
  }
  void CopyToHost(Stream& stream, void* destination, DevicePtr<const void> source, std::size_t bytes) override {
    Copy(stream, destination, source.address(), bytes, cudaMemcpyDeviceToHost);
  }

  Ops& ops() override { return ops_; }
  TransformerOps& transformer_ops() override { return transformer_ops_; }
  VectorOps& vector_ops() override { return vector_ops_; }

 private:
  CudaBackend(const CudaOptions& options, const cudaDeviceProp& properties, cublasLtHandle_t cublas)
      : options_(options),
        cublas_(cublas),
        description_(absl::StrCat("cuda:", options.device, " (", std::string(properties.name), ", ",
                                  properties.totalGlobalMem >> 20, " MiB, compute capability ", properties.major, ".",
                                  properties.minor, ", cuBLASLt ", cublasLtGetVersion(),
                                  options.tf32 ? ", TF32)" : ")")),
        transformer_ops_(options.bf16 ? DataType::kBf16 : DataType::kF32) {}

  // Says how much was asked for.
  static absl::Status Allocated(cudaError_t error, const char* call, std::size_t bytes) {
    const absl::Status status = CudaStatus(error, call);
    if (status.ok()) return status;
    return absl::Status(status.code(),
                        absl::StrCat("cuda: cannot allocate ", bytes, " bytes: ", std::string(status.message())));
  }

  static void Copy(Stream& stream, void* destination, const void* source, std::size_t bytes, cudaMemcpyKind kind) {
    if (bytes == 0 || destination == source) return;
    static_cast<CudaStream&>(stream).Start(
        "copy", [&](cudaStream_t on) { return cudaMemcpyAsync(destination, source, bytes, kind, on); });
  }

  const CudaOptions options_;
  const cublasLtHandle_t cublas_;
  const std::string description_;
  CudaOps ops_;
  CudaTransformerOps transformer_ops_;
  CudaVectorOps vector_ops_;
};

}  // namespace
}  // namespace leeway

// Named by kCudaFactory. The only name that the shared object shows.
extern "C" __attribute__((visibility("default"))) void leeway_new_cuda_backend_2(
    const leeway::CudaOptions& options, absl::StatusOr<std::unique_ptr<leeway::Backend>>* backend) {
  *backend = leeway::CudaBackend::Make(options);
}
