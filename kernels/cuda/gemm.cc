#include "kernels/cuda/gemm.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/cuda/cuda_status.h"

namespace leeway {
namespace {

constexpr std::uint32_t kMaxAlignment = 256;  // more is worth nothing to cuBLASLt

// The greatest power of two, up to kMaxAlignment, that divides the address.
std::uint32_t AlignmentOf(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address) | kMaxAlignment;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

constexpr std::size_t kProposals = 8;  // more are seldom named

absl::StatusOr<int> AlgorithmId(const cublasLtMatmulAlgo_t& algorithm) {
  int id = 0;
  std::size_t written = 0;
  LEEWAY_RETURN_IF_CUBLAS_ERROR(
      cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_ID, &id, sizeof id, &written));
  return id;
}

// Which of the heuristic's proposals is taken: the first, unless sums of bfloat16 are short on a Hopper GPU and the
// product keeps it busy. Then most of the time is that of writing the result, and small tiles, of which there are many
// waves, write while others compute: for every product of gpt:124m with sums of 768 the most waves were within 3 % of
// the fastest, the first proposal up to 19 % behind it; with sums of 2304 and more the first proposal was within 4 %
// (docs/performance.md). Of the same algorithm as the first: others may round where it does not.
absl::StatusOr<std::size_t> Chosen(const Gemm::Plan& plan, const std::vector<cublasLtMatmulHeuristicResult_t>& found) {
  constexpr std::int64_t kShort = 1024;
  constexpr float kBusy = 0.5f;  // waves
  int device = 0, major = 0;
  LEEWAY_RETURN_IF_CUDA_ERROR(cudaGetDevice(&device));
  LEEWAY_RETURN_IF_CUDA_ERROR(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  if (plan.input != CUDA_R_16BF || plan.k > kShort || major != 9 || found[0].wavesCount < kBusy) return 0;
  ASSIGN_OR_RETURN(const int first, AlgorithmId(found[0].algo));
  std::size_t chosen = 0;
  for (std::size_t i = 1; i < found.size(); ++i) {
    if (found[i].state != CUBLAS_STATUS_SUCCESS) continue;
    ASSIGN_OR_RETURN(const int id, AlgorithmId(found[i].algo));
    if (id == first && found[i].wavesCount > found[chosen].wavesCount) chosen = i;
  }
  return chosen;
}

}  // namespace

// One plan's descriptors and its algorithm.
class GemmCache::Prepared {
 public:
  ~Prepared() {
    if (operation_ != nullptr) cublasLtMatmulDescDestroy(operation_);
    for (cublasLtMatrixLayout_t layout : {a_, b_, d_}) {
      if (layout != nullptr) cublasLtMatrixLayoutDestroy(layout);
    }
  }

  absl::Status Prepare(cublasLtHandle_t cublas, const Gemm::Plan& plan, bool tf32, int choice,
                       std::size_t workspace_bytes) {
    const bool float32 = plan.input == CUDA_R_32F;
    LEEWAY_RETURN_IF_CUBLAS_ERROR(cublasLtMatmulDescCreate(
        &operation_, float32 && tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
    RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_TRANSA, plan.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
    RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_TRANSB, plan.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
    RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_EPILOGUE, plan.epilogue));
    if (UsesAux(plan)) RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, plan.m));
    RETURN_IF_ERROR(Layout(plan.input, plan.m, plan.k, plan.transpose_a, &a_));
    RETURN_IF_ERROR(Layout(plan.input, plan.k, plan.n, plan.transpose_b, &b_));
    RETURN_IF_ERROR(Layout(plan.output, plan.m, plan.n, false, &d_));

    cublasLtMatmulPreference_t preference = nullptr;
    LEEWAY_RETURN_IF_CUBLAS_ERROR(cublasLtMatmulPreferenceCreate(&preference));
    const std::unique_ptr<std::remove_pointer_t<cublasLtMatmulPreference_t>,
                          cublasStatus_t (*)(cublasLtMatmulPreference_t)>
        owner(preference, cublasLtMatmulPreferenceDestroy);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
      return CublasStatus(cublasLtMatmulPreferenceSetAttribute(preference, name, &value, sizeof value),
                          "cublasLtMatmulPreferenceSetAttribute");
    };
    const auto bytes = static_cast<std::uint64_t>(workspace_bytes);
    RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes));
    // Where the inner dimension is split, parts are added up in float32: a sum is rounded to bfloat16 once, at its end.
    const std::uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes));
    // Tensors lie anywhere in the flat buffer of weights: 4 bytes are all that may be assumed of some.
    RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, plan.align_a));
    RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, plan.align_b));
    RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, plan.align_d));
    RETURN_IF_ERROR(prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, plan.align_d));
    std::vector<cublasLtMatmulHeuristicResult_t> found(choice == kByRule ? kProposals
                                                                         : static_cast<std::size_t>(choice) + 1);
    int count = 0;
    LEEWAY_RETURN_IF_CUBLAS_ERROR(cublasLtMatmulAlgoGetHeuristic(cublas, operation_, a_, b_, d_, d_, preference,
                                                                 static_cast<int>(found.size()), found.data(), &count));
    if (count <= std::max(choice, 0)) return absl::InternalError("cublasLtMatmulAlgoGetHeuristic: no algorithm");
    found.resize(static_cast<std::size_t>(count));
    std::size_t chosen = static_cast<std::size_t>(std::max(choice, 0));
    if (choice == kByRule) {
      ASSIGN_OR_RETURN(chosen, Chosen(plan, found));
    }
    algorithm_ = found[chosen].algo;
    return absl::OkStatus();
  }

  absl::Status Run(cublasLtHandle_t cublas, cudaStream_t stream, const Gemm& gemm, void* workspace,
                   std::size_t workspace_bytes) {
    if (gemm.bias != nullptr) RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, gemm.bias));
    if (gemm.aux != nullptr) RETURN_IF_ERROR(Set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, gemm.aux));
    const float alpha = 1.0f, beta = gemm.plan.add ? 1.0f : 0.0f;
    LEEWAY_RETURN_IF_CUBLAS_ERROR(cublasLtMatmul(cublas, operation_, &alpha, gemm.a, a_, gemm.b, b_, &beta, gemm.d, d_,
                                                 gemm.d, d_, &algorithm_, workspace, workspace_bytes, stream));
    return absl::OkStatus();
  }

 private:
  static bool UsesAux(const Gemm::Plan& plan) {
    return plan.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS || plan.epilogue == CUBLASLT_EPILOGUE_DGELU;
  }

  template <typename T>
  absl::Status Set(cublasLtMatmulDescAttributes_t name, const T& value) {
    return CublasStatus(cublasLtMatmulDescSetAttribute(operation_, name, &value, sizeof value),
                        "cublasLtMatmulDescSetAttribute");
  }

  // A matrix that is [rows, columns] once it is transposed, if it is.
  static absl::Status Layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns, bool transposed,
                             cublasLtMatrixLayout_t* layout) {
    if (transposed) std::swap(rows, columns);
    return CublasStatus(cublasLtMatrixLayoutCreate(layout, type, static_cast<std::uint64_t>(rows),
                                                   static_cast<std::uint64_t>(columns), rows),
                        "cublasLtMatrixLayoutCreate");
  }

  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, d_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
};

GemmCache::GemmCache(cublasLtHandle_t cublas, bool tf32, int choice) : cublas_(cublas), tf32_(tf32), choice_(choice) {}
GemmCache::~GemmCache() = default;

absl::Status GemmCache::Run(cudaStream_t stream, const Gemm& gemm, void* workspace, std::size_t workspace_bytes) {
  Gemm::Plan plan = gemm.plan;
  plan.align_a = AlignmentOf(gemm.a);
  plan.align_b = AlignmentOf(gemm.b);
  plan.align_d = std::min(AlignmentOf(gemm.d), gemm.aux == nullptr ? kMaxAlignment : AlignmentOf(gemm.aux));
  auto found = plans_.find(plan);
  absl::Status status;
  if (found == plans_.end()) {
    if (plans_.size() >= kMaxPlans) plans_.clear();
    auto prepared = std::make_unique<Prepared>();
    status = prepared->Prepare(cublas_, plan, tf32_, choice_, workspace_bytes);
    if (status.ok()) found = plans_.emplace(plan, std::move(prepared)).first;
  }
  if (status.ok()) status = found->second->Run(cublas_, stream, gemm, workspace, workspace_bytes);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("product of [", plan.m, ",", plan.k, "] and [", plan.k, ",", plan.n,
                                                  "], types ", plan.input, " to ", plan.output, ", epilogue ",
                                                  plan.epilogue, ": ", std::string(status.message())));
}

}  // namespace leeway
