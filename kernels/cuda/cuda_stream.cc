#include "kernels/cuda/cuda_stream.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

absl::Status FirstError(const std::vector<std::shared_ptr<StreamErrors>>& errors) {
  for (const std::shared_ptr<StreamErrors>& error : errors) RETURN_IF_ERROR(error->Get());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Event>> CudaEvent::Make() {
  cudaEvent_t event = nullptr;
  // Blocking: a thread that waits for a gradient must not take a core from those that send them.
  LEEWAY_RETURN_IF_CUDA_ERROR(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync));
  return std::unique_ptr<Event>(new CudaEvent(event));
}

absl::Status CudaEvent::Synchronize() {
  LEEWAY_RETURN_IF_CUDA_ERROR(cudaEventSynchronize(event_));
  const MutexLock lock(mutex_);
  return FirstError(errors_);
}

absl::StatusOr<std::unique_ptr<Stream>> CudaStream::Make(Backend& backend, int device, cublasLtHandle_t cublas,
                                                         bool tf32) {
  LEEWAY_RETURN_IF_CUDA_ERROR(cudaSetDevice(device));
  ASSIGN_OR_RETURN(std::shared_ptr<StreamErrors> errors, StreamErrors::Make());
  cudaStream_t handle = nullptr;
  // Non-blocking: streams wait for each other by events alone, never for the default stream.
  LEEWAY_RETURN_IF_CUDA_ERROR(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking));
  return std::unique_ptr<Stream>(new CudaStream(backend, device, cublas, tf32, handle, std::move(errors)));
}

CudaStream::~CudaStream() {
  static_cast<void>(cudaStreamSynchronize(handle_));  // its work may still use the workspace
  static_cast<void>(cudaFree(workspace_));
  static_cast<void>(cudaStreamDestroy(handle_));
}

void CudaStream::Record(Event& event) {
  auto& cuda = static_cast<CudaEvent&>(event);
  if (Ready()) {
    const absl::Status status = CudaStatus(cudaEventRecord(cuda.event_, handle_), "cudaEventRecord");
    if (!status.ok()) Fail("record", status);
  }
  const MutexLock lock(cuda.mutex_);
  cuda.errors_ = upstream_;
  cuda.errors_.push_back(errors_);
}

void CudaStream::WaitFor(Event& event) {
  auto& cuda = static_cast<CudaEvent&>(event);
  Run("wait", [&] { return CudaStatus(cudaStreamWaitEvent(handle_, cuda.event_, 0), "cudaStreamWaitEvent"); });
  const MutexLock lock(cuda.mutex_);
  // A handful at most: a stream's errors are the same object until there is one.
  for (const std::shared_ptr<StreamErrors>& errors : cuda.errors_) {
    if (errors != errors_ && std::find(upstream_.begin(), upstream_.end(), errors) == upstream_.end()) {
      upstream_.push_back(errors);
    }
  }
}

absl::Status CudaStream::Synchronize() {
  absl::Status status = CudaStatus(cudaStreamSynchronize(handle_), "cudaStreamSynchronize");
  if (const absl::Status own = errors_->Get(); !own.ok()) status = own;
  if (status.ok()) status = FirstError(upstream_);
  upstream_.clear();
  if (!status.ok()) {
    // Events keep the old errors. Without memory for new ones the stream stays failed.
    if (absl::StatusOr<std::shared_ptr<StreamErrors>> fresh = StreamErrors::Make(); fresh.ok()) errors_ = *fresh;
  }
  return status;
}

absl::StatusOr<void*> CudaStream::Workspace() {
  if (workspace_ == nullptr) LEEWAY_RETURN_IF_CUDA_ERROR(cudaMalloc(&workspace_, kWorkspaceBytes + kBiasBytes));
  return workspace_;
}

absl::Status CudaStream::Multiply(const Gemm& gemm) {
  ASSIGN_OR_RETURN(void* const workspace, Workspace());
  Gemm aligned = gemm;
  // cuBLASLt refuses a bias that is not aligned, at some shapes, and cannot be told of it beforehand.
  if (reinterpret_cast<std::uintptr_t>(gemm.bias) % kBiasAlignment != 0) {
    const std::size_t bytes = static_cast<std::size_t>(gemm.plan.m) * (gemm.plan.output == CUDA_R_32F ? 4 : 2);
    if (bytes > kBiasBytes) {
      return absl::InvalidArgumentError(absl::StrCat("a bias of ", bytes, " bytes that is not aligned to ",
                                                     kBiasAlignment, "; at most ", kBiasBytes));
    }
    void* const copy = static_cast<char*>(workspace) + kWorkspaceBytes;
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaMemcpyAsync(copy, gemm.bias, bytes, cudaMemcpyDeviceToDevice, handle_));
    aligned.bias = copy;
  }
  return gemms_.Run(handle_, aligned, workspace, kWorkspaceBytes);
}

bool CudaStream::Ready() {
  if (!errors_->Get().ok()) return false;
  const absl::Status status = CudaStatus(cudaSetDevice(device_), "cudaSetDevice");
  if (!status.ok()) Fail("device", status);
  return status.ok();
}

void CudaStream::Fail(const char* op, const absl::Status& status) {
  errors_->Fail(absl::Status(status.code(), absl::StrCat(op, ": ", std::string(status.message()))));
}

}  // namespace leeway
