#include "worker/models/gpt/gpt_activations.h"

namespace leeway {
namespace {

constexpr std::size_t kBoundary = 256;

class Layout {
 public:
  Layout(DataType type, DevicePtr<char> base) : type_(type), base_(base) {}

  TypedPtr Typed(std::int64_t rows, std::int64_t columns) {
    return {Take(static_cast<std::size_t>(rows * columns) * SizeOf(type_)), type_};
  }
  DevicePtr<float> Floats(std::int64_t count) {
    return DevicePtr<float>(static_cast<float*>(Take(static_cast<std::size_t>(count) * sizeof(float)).address()));
  }
  std::size_t bytes() const { return bytes_; }

 private:
  DevicePtr<void> Take(std::size_t bytes) {
    const std::size_t at = bytes_;
    bytes_ += (bytes + kBoundary - 1) / kBoundary * kBoundary;
    return base_ ? DevicePtr<void>(base_ + at) : DevicePtr<void>();
  }

  const DataType type_;
  const DevicePtr<char> base_;
  std::size_t bytes_ = 0;
};

}  // namespace

GptActivations LayOutGpt(const GptConfig& config, std::int64_t batch, DataType type, DevicePtr<char> base,
                         std::size_t* bytes) {
  const std::int64_t rows = batch * config.context, width = config.width;
  Layout layout(type, base);
  GptActivations all;
  for (std::int64_t i = 0; i < config.layers; ++i) {
    GptLayerActivations& layer = all.layers.emplace_back();
    layer.stream = layout.Typed(rows, width);
    layer.normal1 = layout.Typed(rows, width);
    layer.mean1 = layout.Floats(rows);
    layer.rstd1 = layout.Floats(rows);
    layer.qkv = layout.Typed(rows, 3 * width);
    layer.lse = layout.Floats(rows * config.heads);
    layer.attended = layout.Typed(rows, width);
    layer.middle = layout.Typed(rows, width);
    layer.normal2 = layout.Typed(rows, width);
    layer.mean2 = layout.Floats(rows);
    layer.rstd2 = layout.Floats(rows);
    layer.pre = layout.Typed(rows, 4 * width);
    layer.up = layout.Typed(rows, 4 * width);
  }
  all.branch = layout.Typed(rows, width);
  all.stream = layout.Typed(rows, width);
  all.normal = layout.Typed(rows, width);
  all.mean = layout.Floats(rows);
  all.rstd = layout.Floats(rows);
  all.logits = layout.Typed(rows, config.padded_vocabulary());
  all.d_stream = layout.Typed(rows, width);
  all.d_narrow = layout.Typed(rows, width);
  all.d_wide = layout.Typed(rows, 4 * width);
  *bytes = layout.bytes();
  return all;
}

}  // namespace leeway
