// CudaStream, CudaEvent: a CUDA stream and a point in its work, with the first error of that work.
//
// A stream keeps what its ops share: the plans of its matrix products (kernels/cuda/gemm.h) and a workspace, which
// belongs to one op at a time because the stream runs them in order.
//
// Errors are known late on a GPU. Once the host knows of one, nothing more is enqueued; what was enqueued meanwhile
// has run on whatever the failed op left.
//
// Thread safety: a stream belongs to one thread at a time; an event may be waited for from any.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/stream_errors.h"

namespace leeway {

class CudaEvent final : public Event {
 public:
  static absl::StatusOr<std::unique_ptr<Event>> Make();
  ~CudaEvent() override { static_cast<void>(cudaEventDestroy(event_)); }

  absl::Status Synchronize() override;

 private:
  friend class CudaStream;
  using Errors = std::vector<std::shared_ptr<StreamErrors>>;

  explicit CudaEvent(cudaEvent_t event) : event_(event) {}

  const cudaEvent_t event_;
  Mutex mutex_;
  Errors errors_ LEEWAY_GUARDED_BY(mutex_);  // of all streams whose work the recorded point comes after
};

class CudaStream final : public Stream {
 public:
  // cuBLASLt's own advice for Hopper.
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;
  // Behind it, room for a bias that lies where cuBLASLt does not want it.
  static constexpr std::size_t kBiasBytes = std::size_t{1} << 20;
  static constexpr std::size_t kBiasAlignment = 16;

  static absl::StatusOr<std::unique_ptr<Stream>> Make(Backend& backend, int device, cublasLtHandle_t cublas, bool tf32);
  ~CudaStream() override;

  Backend& backend() const override { return backend_; }
  void Record(Event& event) override;
  void WaitFor(Event& event) override;
  absl::Status Synchronize() override;

  // Calls `work`, which enqueues and returns absl::Status, unless earlier work failed; keeps its error, with `op`
  // before it.
  template <typename Work>
  void Run(const char* op, Work work) {
    if (!Ready()) return;
    const absl::Status status = work();
    if (!status.ok()) Fail(op, status);
  }
  // The same for a `launch` that returns cudaError_t.
  template <typename Launch>
  void Start(const char* op, Launch launch) {
    Run(op, [&] { return CudaStatus(launch(handle_), "launch"); });
  }

  cudaStream_t handle() const { return handle_; }
  DeviceFault* fault() const { return errors_->fault(); }
  // kWorkspaceBytes, aligned to 256 bytes; allocated by the first call.
  absl::StatusOr<void*> Workspace();
  // Enqueues a matrix product. Called inside Run.
  absl::Status Multiply(const Gemm& gemm);

 private:
  CudaStream(Backend& backend, int device, cublasLtHandle_t cublas, bool tf32, cudaStream_t handle,
             std::shared_ptr<StreamErrors> errors)
      : backend_(backend), device_(device), handle_(handle), errors_(std::move(errors)), gemms_(cublas, tf32) {}

  // Makes the stream's device the calling thread's; false once something has failed.
  bool Ready();
  void Fail(const char* op, const absl::Status& status);

  Backend& backend_;
  const int device_;
  const cudaStream_t handle_;
  std::shared_ptr<StreamErrors> errors_;
  std::vector<std::shared_ptr<StreamErrors>> upstream_;  // of streams that this one has waited for
  GemmCache gemms_;
  void* workspace_ = nullptr;
};

}  // namespace leeway
