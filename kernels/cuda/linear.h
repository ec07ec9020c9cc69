// A linear layer's three products (kernels/ops.h) as products of cuBLASLt. A matrix that lies row by row is, column by
// column, its transpose: so y = x w^T is computed as y^T = w x^T.
//
// Thread safety: pure functions.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/gemm.h"
#include "kernels/ops.h"

namespace leeway {

// y[batch,out] = x[batch,in] w[out,in]^T, of `type`.
inline Gemm LinearForwardGemm(const LinearShape& shape, cudaDataType_t type, const void* x, const void* w, void* y) {
  Gemm gemm;
  gemm.plan = {.transpose_a = true, .m = shape.out, .n = shape.batch, .k = shape.in, .input = type, .output = type};
  gemm.a = w;
  gemm.b = x;
  gemm.d = y;
  return gemm;
}

// y = x w^T + bias, where bias is not null.
inline Gemm LinearForwardGemm(const LinearShape& shape, cudaDataType_t type, const void* x, const void* w,
                              const void* bias, void* y) {
  Gemm gemm = LinearForwardGemm(shape, type, x, w, y);
  if (bias != nullptr) gemm.plan.epilogue = CUBLASLT_EPILOGUE_BIAS;
  gemm.bias = bias;
  return gemm;
}

// dx[batch,in] = dy[batch,out] w[out,in], of `type`.
inline Gemm LinearBackwardDataGemm(const LinearShape& shape, cudaDataType_t type, const void* dy, const void* w,
                                   void* dx) {
  Gemm gemm;
  gemm.plan = {.m = shape.in, .n = shape.batch, .k = shape.out, .input = type, .output = type};
  gemm.a = w;
  gemm.b = dy;
  gemm.d = dx;
  return gemm;
}

// dw[out,in] (+)= dy[batch,out]^T x[batch,in]; dw is float32 whatever `type` x and dy are of.
inline Gemm LinearBackwardWeightsGemm(const LinearShape& shape, cudaDataType_t type, const void* x, const void* dy,
                                      float* dw, Write write) {
  Gemm gemm;
  gemm.plan = {.transpose_b = true,
               .m = shape.in,
               .n = shape.out,
               .k = shape.batch,
               .input = type,
               .output = CUDA_R_32F,
               .add = write == Write::kAdd};
  gemm.a = x;
  gemm.b = dy;
  gemm.d = dw;
  return gemm;
}

}  // namespace leeway
