#include "kernels/cpu/conv3x3.h"

#include <cstddef>
#include <map>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_stream.h"
#include "kernels/cpu/loops.h"

namespace leeway {
namespace {

using Memory = dnnl::memory;
using Tag = dnnl::memory::format_tag;
using Arguments = std::unordered_map<int, dnnl::memory>;

constexpr std::size_t kMaxBatchSizes = 64;

Memory::desc Desc(const Memory::dims& dims, Tag tag) { return {dims, Memory::data_type::f32, tag}; }

void SetInput(Memory& memory, const float* data) { memory.set_data_handle(const_cast<float*>(data)); }

// The three passes at one batch size. Weights are [out, in, 3, 3] outside; inside each pass has them in the layout
// that its kernel likes best, so they are reordered each time (they are small, and change every step).
class Plan {
 public:
  Plan(const dnnl::engine& engine, const ImageShape& shape, std::int64_t out_channels)
      : dw_plain_(static_cast<std::size_t>(out_channels * shape.channels * 9)),
        dbias_plain_(static_cast<std::size_t>(out_channels)) {
    const Memory::dims strides{1, 1}, padding{1, 1};
    // In memory, one channel is [n, c, h, w] and 16 channels are oneDNN's blocks of 16 whatever the name of the
    // layout. For this pair, the first layer of grey images, the kernels under the other names are twice as fast.
    const bool first_layer = shape.channels == 1 && out_channels == 16;
    const Memory::desc x =
        Desc({shape.batch, shape.channels, shape.height, shape.width}, first_layer ? Tag::nchw : Tag::nhwc);
    const Memory::desc y =
        Desc({shape.batch, out_channels, shape.height, shape.width}, first_layer ? Tag::nChw16c : Tag::nhwc);
    const Memory::desc w_any = Desc({out_channels, shape.channels, 3, 3}, Tag::any);
    const Memory::desc w_plain = Desc({out_channels, shape.channels, 3, 3}, Tag::oihw);
    const Memory::desc bias = Desc({out_channels}, Tag::x);
    constexpr auto kDirect = dnnl::algorithm::convolution_direct;

    using Forward = dnnl::convolution_forward;
    const Forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, kDirect, x, w_any, bias, y, strides, padding, padding}, engine);
    using BackwardData = dnnl::convolution_backward_data;
    const BackwardData::primitive_desc data({kDirect, x, w_any, y, strides, padding, padding}, engine, forward);
    using BackwardWeights = dnnl::convolution_backward_weights;
    const BackwardWeights::primitive_desc weights({kDirect, x, w_any, bias, y, strides, padding, padding}, engine,
                                                  forward);

    x_ = Memory(x, engine, DNNL_MEMORY_NONE);
    y_ = Memory(y, engine, DNNL_MEMORY_NONE);
    w_ = Memory(w_plain, engine, DNNL_MEMORY_NONE);
    bias_ = Memory(bias, engine, DNNL_MEMORY_NONE);
    w_forward_ = Memory(forward.weights_desc(), engine);
    w_data_ = Memory(data.weights_desc(), engine);
    dw_ = Memory(weights.diff_weights_desc(), engine);
    reorder_forward_ = dnnl::reorder(w_, w_forward_);
    reorder_data_ = dnnl::reorder(w_, w_data_);
    reorder_dw_ = dnnl::reorder(dw_, w_);
    forward_ = Forward(forward);
    data_ = BackwardData(data);
    weights_ = BackwardWeights(weights);
    forward_arguments_ = {
        {DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, w_forward_}, {DNNL_ARG_BIAS, bias_}, {DNNL_ARG_DST, y_}};
    data_arguments_ = {{DNNL_ARG_DIFF_DST, y_}, {DNNL_ARG_WEIGHTS, w_data_}, {DNNL_ARG_DIFF_SRC, x_}};
    weights_arguments_ = {
        {DNNL_ARG_SRC, x_}, {DNNL_ARG_DIFF_DST, y_}, {DNNL_ARG_DIFF_WEIGHTS, dw_}, {DNNL_ARG_DIFF_BIAS, bias_}};
  }

  void Forward(dnnl::stream& stream, const float* x, const float* w, const float* bias, float* y) {
    SetInput(w_, w);
    reorder_forward_.execute(stream, w_, w_forward_);
    SetInput(x_, x);
    SetInput(bias_, bias);
    y_.set_data_handle(y);
    forward_.execute(stream, forward_arguments_);
  }

  void BackwardData(dnnl::stream& stream, const float* dy, const float* w, float* dx) {
    SetInput(w_, w);
    reorder_data_.execute(stream, w_, w_data_);
    SetInput(y_, dy);
    x_.set_data_handle(dx);
    data_.execute(stream, data_arguments_);
  }

  void BackwardWeights(dnnl::stream& stream, const float* x, const float* dy, float* dw, float* dbias, Write write) {
    // oneDNN cannot add to diff weights: where that is asked for, they go through dw_plain_.
    const bool add = write == Write::kAdd;
    SetInput(x_, x);
    SetInput(y_, dy);
    bias_.set_data_handle(add ? dbias_plain_.data() : dbias);
    weights_.execute(stream, weights_arguments_);
    w_.set_data_handle(add ? dw_plain_.data() : dw);
    reorder_dw_.execute(stream, dw_, w_);
    if (!add) return;
    loops::Axpy(dw_plain_.size(), 1.0f, dw_plain_.data(), dw);
    loops::Axpy(dbias_plain_.size(), 1.0f, dbias_plain_.data(), dbias);
  }

 private:
  std::vector<float> dw_plain_, dbias_plain_;
  Memory x_, y_, w_, bias_;         // the caller's memory, or dw_plain_ and dbias_plain_
  Memory w_forward_, w_data_, dw_;  // our own, in the kernels' layouts
  dnnl::reorder reorder_forward_, reorder_data_, reorder_dw_;
  dnnl::convolution_forward forward_;
  dnnl::convolution_backward_data data_;
  dnnl::convolution_backward_weights weights_;
  Arguments forward_arguments_, data_arguments_, weights_arguments_;
};

class CpuConv3x3 final : public Conv3x3 {
 public:
  CpuConv3x3(const dnnl::engine& engine, const ImageShape& shape, std::int64_t out_channels)
      : engine_(engine), shape_(shape), out_channels_(out_channels) {
    PlanFor(shape.batch);
  }

  void Forward(Stream& stream, std::int64_t batch, DevicePtr<const float> x, DevicePtr<const float> w,
               DevicePtr<const float> bias, DevicePtr<float> y) override {
    auto& cpu = static_cast<CpuStream&>(stream);
    cpu.Run("convolution forward", [&] {
      PlanFor(batch).Forward(cpu.dnnl_stream(), x.address(), w.address(), bias.address(), y.address());
      return absl::OkStatus();
    });
  }

  void BackwardData(Stream& stream, std::int64_t batch, DevicePtr<const float> dy, DevicePtr<const float> w,
                    DevicePtr<float> dx) override {
    auto& cpu = static_cast<CpuStream&>(stream);
    cpu.Run("convolution backward data", [&] {
      PlanFor(batch).BackwardData(cpu.dnnl_stream(), dy.address(), w.address(), dx.address());
      return absl::OkStatus();
    });
  }

  void BackwardWeights(Stream& stream, std::int64_t batch, DevicePtr<const float> x, DevicePtr<const float> dy,
                       DevicePtr<float> dw, DevicePtr<float> dbias, Write write) override {
    auto& cpu = static_cast<CpuStream&>(stream);
    cpu.Run("convolution backward weights", [&] {
      PlanFor(batch).BackwardWeights(cpu.dnnl_stream(), x.address(), dy.address(), dw.address(), dbias.address(),
                                     write);
      return absl::OkStatus();
    });
  }

 private:
  Plan& PlanFor(std::int64_t batch) {
    const auto found = plans_.find(batch);
    if (found != plans_.end()) return found->second;
    if (plans_.size() >= kMaxBatchSizes) plans_.clear();
    ImageShape shape = shape_;
    shape.batch = batch;
    return plans_.try_emplace(batch, engine_, shape, out_channels_).first->second;
  }

  const dnnl::engine engine_;
  const ImageShape shape_;
  const std::int64_t out_channels_;
  std::map<std::int64_t, Plan> plans_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Conv3x3>> NewCpuConv3x3(const dnnl::engine& engine, int threads, const ImageShape& shape,
                                                       std::int64_t out_channels) {
  const ComputeScope scope(threads);
  try {
    return std::make_unique<CpuConv3x3>(engine, shape, out_channels);
  } catch (const dnnl::error& error) {
    return absl::InternalError(absl::StrCat("convolution of ", shape.channels, " to ", out_channels,
                                            " channels: oneDNN failed: ", error.what()));
  }
}

}  // namespace leeway
