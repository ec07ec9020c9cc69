// CpuStream: a stream whose work runs in the calling thread, before the enqueueing call returns. It holds the
// matrix products that oneDNN has prepared (kernels/cpu/matmul.h) and the scratch memory of ops, because these belong
// to one thread at a time.
//
// Thread safety: one thread at a time, as every Stream.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "dnnl.hpp"
#include "kernels/backend.h"
#include "kernels/cpu/compute_scope.h"
#include "kernels/cpu/matmul.h"

namespace leeway {

// Every recorded point is reached by the time it is recorded.
class CpuEvent final : public Event {
 public:
  absl::Status Synchronize() override { return status_; }

 private:
  friend class CpuStream;
  absl::Status status_;
};

class CpuStream final : public Stream {
 public:
  CpuStream(Backend& backend, const dnnl::engine& engine, int threads)
      : backend_(backend), threads_(threads), dnnl_stream_(engine), matmuls_(engine) {}

  Backend& backend() const override { return backend_; }
  void Record(Event& event) override { static_cast<CpuEvent&>(event).status_ = status_; }
  void WaitFor(Event& event) override { Fail(event.Synchronize()); }
  absl::Status Synchronize() override { return std::exchange(status_, absl::OkStatus()); }

  // Runs `work`, which returns absl::Status, unless earlier work failed; keeps the error.
  template <typename Work>
  void Run(const char* op, Work work) {
    RunExactly(op, [&] {
      const ComputeScope scope(threads_);
      return work();
    });
  }
  // The same outside of a ComputeScope: denormals stay.
  template <typename Work>
  void RunExactly(const char* op, Work work) {
    if (!status_.ok()) return;
    // oneDNN's C++ interface reports by exceptions; they end here.
    try {
      Fail(work());
    } catch (const dnnl::error& error) {
      Fail(absl::InternalError(absl::StrCat(op, ": oneDNN failed: ", error.what())));
    }
  }

  dnnl::stream& dnnl_stream() { return dnnl_stream_; }
  MatmulCache& matmuls() { return matmuls_; }
  // For the op that runs, any contents; kept, and allocated anew only when an op needs more than any did before.
  float* Scratch(std::size_t floats) {
    if (scratch_.size() < floats) scratch_.resize(floats);
    return scratch_.data();
  }

 private:
  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  Backend& backend_;
  const int threads_;
  dnnl::stream dnnl_stream_;
  MatmulCache matmuls_;
  std::vector<float> scratch_;
  absl::Status status_;
};

}  // namespace leeway
