#include "tests/gpu/gemm_proposals.h"

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "kernels/cuda/cuda_status.h"

namespace leeway {
namespace {

// cuBLASLt's handles are pointers; T is what they point to.
template <typename T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

absl::StatusOr<Owned<cublasLtMatrixLayout_t>> Layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns,
                                                     bool transposed) {
  if (transposed) std::swap(rows, columns);
  cublasLtMatrixLayout_t layout = nullptr;
  LEEWAY_RETURN_IF_CUBLAS_ERROR(cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(rows),
                                                           static_cast<std::uint64_t>(columns), rows));
  return Owned<cublasLtMatrixLayout_t>(layout, cublasLtMatrixLayoutDestroy);
}

absl::StatusOr<Owned<cublasLtMatmulDesc_t>> Operation(const Gemm::Plan& plan) {
  cublasLtMatmulDesc_t made = nullptr;
  LEEWAY_RETURN_IF_CUBLAS_ERROR(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  Owned<cublasLtMatmulDesc_t> operation(made, cublasLtMatmulDescDestroy);
  const auto set = [&](cublasLtMatmulDescAttributes_t name, const auto& value) {
    return CublasStatus(cublasLtMatmulDescSetAttribute(made, name, &value, sizeof value),
                        "cublasLtMatmulDescSetAttribute");
  };
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_TRANSA, plan.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_TRANSB, plan.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_EPILOGUE, plan.epilogue));
  if (plan.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS || plan.epilogue == CUBLASLT_EPILOGUE_DGELU) {
    RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, plan.m));
  }
  return operation;
}

absl::StatusOr<Owned<cublasLtMatmulPreference_t>> Preference(std::size_t workspace_bytes) {
  cublasLtMatmulPreference_t made = nullptr;
  LEEWAY_RETURN_IF_CUBLAS_ERROR(cublasLtMatmulPreferenceCreate(&made));
  Owned<cublasLtMatmulPreference_t> preference(made, cublasLtMatmulPreferenceDestroy);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
    return CublasStatus(cublasLtMatmulPreferenceSetAttribute(made, name, &value, sizeof value),
                        "cublasLtMatmulPreferenceSetAttribute");
  };
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(workspace_bytes)));
  const std::uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, alignment = 256;
  RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes));
  for (const auto name : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    RETURN_IF_ERROR(set(name, alignment));
  }
  return preference;
}

// -1: this algorithm has no such attribute.
template <typename T>
int Attribute(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t name) {
  T value{};
  std::size_t written = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoConfigGetAttribute(&algorithm, name, &value, sizeof value, &written);
  return status == CUBLAS_STATUS_SUCCESS && written == sizeof value ? static_cast<int>(value) : -1;
}

std::string Describe(const cublasLtMatmulHeuristicResult_t& found) {
  const cublasLtMatmulAlgo_t& of = found.algo;
  return absl::StrFormat(
      "algorithm %d tile %d stages %d split %d reduction %d swizzle %d custom %d inner %d cluster %d, %.3f waves, "
      "workspace %d",
      Attribute<std::int32_t>(of, CUBLASLT_ALGO_CONFIG_ID), Attribute<std::uint32_t>(of, CUBLASLT_ALGO_CONFIG_TILE_ID),
      Attribute<std::uint32_t>(of, CUBLASLT_ALGO_CONFIG_STAGES_ID),
      Attribute<std::int32_t>(of, CUBLASLT_ALGO_CONFIG_SPLITK_NUM),
      Attribute<std::uint32_t>(of, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME),
      Attribute<std::uint32_t>(of, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING),
      Attribute<std::uint32_t>(of, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION),
      Attribute<std::uint16_t>(of, CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID),
      Attribute<std::uint16_t>(of, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID), found.wavesCount, found.workspaceSize);
}

}  // namespace

absl::StatusOr<std::string> DescribeProposal(cublasLtHandle_t cublas, const Gemm::Plan& plan,
                                             std::size_t workspace_bytes, int choice) {
  ASSIGN_OR_RETURN(const auto operation, Operation(plan));
  ASSIGN_OR_RETURN(const auto a, Layout(plan.input, plan.m, plan.k, plan.transpose_a));
  ASSIGN_OR_RETURN(const auto b, Layout(plan.input, plan.k, plan.n, plan.transpose_b));
  ASSIGN_OR_RETURN(const auto d, Layout(plan.output, plan.m, plan.n, false));
  ASSIGN_OR_RETURN(const auto preference, Preference(workspace_bytes));
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<std::size_t>(choice) + 1);
  int count = 0;
  LEEWAY_RETURN_IF_CUBLAS_ERROR(cublasLtMatmulAlgoGetHeuristic(
      cublas, operation.get(), a.get(), b.get(), d.get(), d.get(), preference.get(), choice + 1, found.data(), &count));
  if (count <= choice) return absl::InternalError("cublasLtMatmulAlgoGetHeuristic: no algorithm");
  return Describe(found.back());
}

}  // namespace leeway
