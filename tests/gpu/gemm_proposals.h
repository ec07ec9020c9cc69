// What cuBLASLt's heuristic proposes for a product, in words: so that a rule may be found by which the fastest could be
// chosen without timing. It is asked as GemmCache asks it (kernels/cuda/gemm.cc), for operands aligned to 256 bytes.
//
// Thread safety: pure functions.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/cuda/gemm.h"

namespace leeway {

// The proposal `choice`, 0 being the first: numbers of the enumerations in cublasLt.h. INTERNAL: there is none.
absl::StatusOr<std::string> DescribeProposal(cublasLtHandle_t cublas, const Gemm::Plan& plan,
                                             std::size_t workspace_bytes, int choice);

}  // namespace leeway
