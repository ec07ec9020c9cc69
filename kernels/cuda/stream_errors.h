// StreamErrors: the first error of a stream's work, shared by the stream and by the events recorded on it, so that an
// event which is waited for late still tells of an error that its stream has reported and left behind.
//
// Thread safety: any thread. Ownership: shared.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "kernels/cuda/device_fault.h"

namespace leeway {

class StreamErrors {
 public:
  static absl::StatusOr<std::shared_ptr<StreamErrors>> Make();
  ~StreamErrors();
  StreamErrors(const StreamErrors&) = delete;
  StreamErrors& operator=(const StreamErrors&) = delete;

  // For kernels; pinned host memory that the device addresses as the host does.
  DeviceFault* fault() const { return fault_; }
  // Keeps `status` unless there is an error already.
  void Fail(absl::Status status);
  // What is known by now: of work that the device has passed, everything.
  absl::Status Get() const;

 private:
  explicit StreamErrors(DeviceFault* fault) : fault_(fault) {}

  DeviceFault* const fault_;
  mutable Mutex mutex_;
  absl::Status status_ LEEWAY_GUARDED_BY(mutex_);
};

}  // namespace leeway
