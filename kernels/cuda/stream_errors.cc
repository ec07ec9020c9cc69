#include "kernels/cuda/stream_errors.h"

#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_status.h"

namespace leeway {

absl::StatusOr<std::shared_ptr<StreamErrors>> StreamErrors::Make() {
  void* memory = nullptr;
  LEEWAY_RETURN_IF_CUDA_ERROR(cudaHostAlloc(&memory, sizeof(DeviceFault), cudaHostAllocMapped | cudaHostAllocPortable));
  return std::shared_ptr<StreamErrors>(new StreamErrors(new (memory) DeviceFault()));
}

StreamErrors::~StreamErrors() { static_cast<void>(cudaFreeHost(fault_)); }

void StreamErrors::Fail(absl::Status status) {
  const MutexLock lock(mutex_);
  if (status_.ok()) status_ = std::move(status);
}

absl::Status StreamErrors::Get() const {
  // Volatile: the device writes it.
  const volatile DeviceFault& fault = *fault_;
  switch (fault.kind) {
    case DeviceFault::kNone:
      break;
    case DeviceFault::kLabel:
      return absl::InvalidArgumentError(absl::StrCat("softmax: row ", fault.row, " of the batch has label ",
                                                     fault.value, "; the model has classes 0 to ", fault.limit - 1));
    case DeviceFault::kToken:
      return absl::InvalidArgumentError(absl::StrCat("embedding: sequence ", fault.row, " of the batch has token ",
                                                     fault.value, " at ", fault.column, "; the model has tokens 0 to ",
                                                     fault.limit - 1));
  }
  const MutexLock lock(mutex_);
  return status_;
}

}  // namespace leeway
