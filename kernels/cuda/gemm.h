// GemmCache: matrix products through cuBLASLt. What must be prepared per shape (descriptors, the algorithm that
// cuBLASLt's heuristic names first) is kept, so that a step prepares nothing.
//
// The heuristic is not second-guessed by timing: the choice would differ from run to run, and with it the last bits.
// One rule overrides it (Chosen, in the .cc): short sums on a Hopper GPU.
//
// Thread safety: one thread at a time. Ownership: memory is the caller's.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leeway {

// D = op(A) op(B) + beta * D, then what the epilogue adds; all matrices column by column, as cuBLAS has them:
// op(A) is [m, k], op(B) [k, n], D [m, n], each without gaps.
struct Gemm {
  // All that a plan depends on. Alignments are filled in by GemmCache.
  struct Plan {
    bool transpose_a = false, transpose_b = false;
    std::int64_t m = 0, n = 0, k = 0;
    cudaDataType_t input = CUDA_R_32F, output = CUDA_R_32F;  // of A and B; of D
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    bool add = false;  // beta is 1, not 0
    std::uint32_t align_a = 0, align_b = 0, align_d = 0;
    auto Key() const {
      return std::tie(transpose_a, transpose_b, m, n, k, input, output, epilogue, add, align_a, align_b, align_d);
    }
    bool operator<(const Plan& other) const { return Key() < other.Key(); }
  };
  Plan plan;
  const void* a = nullptr;
  const void* b = nullptr;
  void* d = nullptr;
  const void* bias = nullptr;  // [m], of D's type, for an epilogue with bias
  void* aux = nullptr;  // [m, n], of D's type, for an epilogue that keeps or reads what activation was applied to
};

class GemmCache {
 public:
  // More shapes than a model has; beyond it all plans are dropped and made anew.
  static constexpr std::size_t kMaxPlans = 512;

  static constexpr int kByRule = -1;

  // `tf32`: float32 products may round their inputs to TF32. `choice`: which of the algorithms that the heuristic
  // names, 0 being the one that it expects to be the fastest (for benchmarks).
  GemmCache(cublasLtHandle_t cublas, bool tf32, int choice = kByRule);
  ~GemmCache();

  // Enqueues `gemm` on `stream`. INTERNAL: cuBLASLt failed or knows no algorithm, with the shape.
  absl::Status Run(cudaStream_t stream, const Gemm& gemm, void* workspace, std::size_t workspace_bytes);

 private:
  class Prepared;

  const cublasLtHandle_t cublas_;
  const bool tf32_;
  const int choice_;
  std::map<Gemm::Plan, std::unique_ptr<Prepared>> plans_;
};

}  // namespace leeway
