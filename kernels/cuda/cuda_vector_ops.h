// CudaVectorOps: VectorOps (kernels/vector_ops.h) on a GPU.
//
// Thread safety: as VectorOps. Every Stream it is given is a CudaStream.
#pragma once

#include "kernels/vector_ops.h"

namespace leeway {

class CudaVectorOps final : public VectorOps {
 public:
  void Step(Stream& stream, const SgdRule& rule, const DeviceStep& step) override;
  void Step(Stream& stream, const MomentumRule& rule, bool nesterov, const DeviceStep& step) override;
  void Step(Stream& stream, const AdagradRule& rule, const DeviceStep& step) override;
  void Step(Stream& stream, const RmspropRule& rule, const DeviceStep& step) override;
  void Step(Stream& stream, const AdamRule& rule, const DeviceStep& step) override;
  void Step(Stream& stream, const FtrlRule& rule, const DeviceStep& step) override;
  void EncodeBf16(Stream& stream, std::size_t count, DevicePtr<float> values, bool residual,
                  DevicePtr<std::uint16_t> out) override;
  void DecodeBf16(Stream& stream, std::size_t count, DevicePtr<const std::uint16_t> values,
                  DevicePtr<float> out) override;
  void EncodeInt8(Stream& stream, const EncodedBlocks& blocks, DevicePtr<const float> values, DevicePtr<float> residual,
                  DevicePtr<char> out) override;
  void EncodeTopK(Stream& stream, const EncodedBlocks& blocks, std::size_t kept, std::size_t last_kept,
                  DevicePtr<const float> values, DevicePtr<float> residual, DevicePtr<char> out) override;
};

}  // namespace leeway
