// TimedBackend: a backend that passes everything on to another and adds up the time of the products, linear layers and
// convolutions, where they run: in the middle of a step, with the caches as they are then.
//
// For backends whose work runs before a call returns (cpu). Thread safety: one thread.
// Ownership: the other backend must outlive it; it must outlive the convolutions that it made.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "kernels/ops.h"

namespace leeway {

class TimedBackend final : public Backend, private Ops {
 public:
  // `clock` gives seconds.
  TimedBackend(Backend& base, std::function<double()> clock) : base_(base), clock_(std::move(clock)) {}

  // Of the products since the last call.
  double TakeProductSeconds() { return std::exchange(seconds_, 0.0); }

  std::string description() const override { return base_.description(); }
  absl::StatusOr<DeviceMemory> Allocate(std::size_t bytes) override { return base_.Allocate(bytes); }
  absl::StatusOr<HostMemory> AllocateHost(std::size_t bytes) override { return base_.AllocateHost(bytes); }
  absl::StatusOr<HostMemory> HostTwin(const DeviceMemory& memory) override { return base_.HostTwin(memory); }
  absl::StatusOr<std::unique_ptr<Stream>> NewStream() override { return base_.NewStream(); }
  absl::StatusOr<std::unique_ptr<Event>> NewEvent() override { return base_.NewEvent(); }
  void CopyToDevice(Stream& stream, DevicePtr<void> destination, const void* source, std::size_t bytes) override {
    base_.CopyToDevice(stream, destination, source, bytes);
  }
  void CopyToHost(Stream& stream, void* destination, DevicePtr<const void> source, std::size_t bytes) override {
    base_.CopyToHost(stream, destination, source, bytes);
  }
  Ops& ops() override { return *this; }
  TransformerOps& transformer_ops() override { return base_.transformer_ops(); }  // not timed
  VectorOps& vector_ops() override { return base_.vector_ops(); }                 // not timed

 private:
  class TimedConv3x3 final : public Conv3x3 {
   public:
    TimedConv3x3(TimedBackend& owner, std::unique_ptr<Conv3x3> base) : owner_(owner), base_(std::move(base)) {}
    void Forward(Stream& stream, std::int64_t batch, DevicePtr<const float> x, DevicePtr<const float> w,
                 DevicePtr<const float> bias, DevicePtr<float> y) override {
      owner_.Time([&] { base_->Forward(stream, batch, x, w, bias, y); });
    }
    void BackwardData(Stream& stream, std::int64_t batch, DevicePtr<const float> dy, DevicePtr<const float> w,
                      DevicePtr<float> dx) override {
      owner_.Time([&] { base_->BackwardData(stream, batch, dy, w, dx); });
    }
    void BackwardWeights(Stream& stream, std::int64_t batch, DevicePtr<const float> x, DevicePtr<const float> dy,
                         DevicePtr<float> dw, DevicePtr<float> dbias, Write write) override {
      owner_.Time([&] { base_->BackwardWeights(stream, batch, x, dy, dw, dbias, write); });
    }

   private:
    TimedBackend& owner_;
    const std::unique_ptr<Conv3x3> base_;
  };

  template <typename Call>
  void Time(Call call) {
    const double begin = clock_();
    call();
    seconds_ += clock_() - begin;
  }

  void LinearForward(Stream& stream, const LinearShape& shape, DevicePtr<const float> x, DevicePtr<const float> w,
                     DevicePtr<const float> bias, DevicePtr<float> y, Activation activation) override {
    Time([&] { base_.ops().LinearForward(stream, shape, x, w, bias, y, activation); });
  }
  void LinearBackwardData(Stream& stream, const LinearShape& shape, DevicePtr<const float> dy, DevicePtr<const float> w,
                          DevicePtr<float> dx) override {
    Time([&] { base_.ops().LinearBackwardData(stream, shape, dy, w, dx); });
  }
  void LinearBackwardWeights(Stream& stream, const LinearShape& shape, DevicePtr<const float> x,
                             DevicePtr<const float> dy, DevicePtr<float> dw, DevicePtr<float> dbias,
                             Write write) override {
    Time([&] { base_.ops().LinearBackwardWeights(stream, shape, x, dy, dw, dbias, write); });
  }
  absl::StatusOr<std::unique_ptr<Conv3x3>> NewConv3x3(const ImageShape& shape, std::int64_t out_channels) override {
    absl::StatusOr<std::unique_ptr<Conv3x3>> base = base_.ops().NewConv3x3(shape, out_channels);
    if (!base.ok()) return base.status();
    return std::make_unique<TimedConv3x3>(*this, std::move(base).value());
  }
  void ReluForward(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<float> y) override {
    base_.ops().ReluForward(stream, count, x, y);
  }
  void ReluBackward(Stream& stream, std::size_t count, DevicePtr<const float> y, DevicePtr<const float> dy,
                    DevicePtr<float> dx) override {
    base_.ops().ReluBackward(stream, count, y, dy, dx);
  }
  void MaxPoolForward(Stream& stream, const ImageShape& shape, DevicePtr<const float> x, DevicePtr<float> y,
                      DevicePtr<std::int32_t> choice, Activation activation) override {
    base_.ops().MaxPoolForward(stream, shape, x, y, choice, activation);
  }
  void MaxPoolBackward(Stream& stream, const ImageShape& shape, DevicePtr<const float> dy,
                       DevicePtr<const std::int32_t> choice, DevicePtr<float> dx) override {
    base_.ops().MaxPoolBackward(stream, shape, dy, choice, dx);
  }
  void SoftmaxCrossEntropy(Stream& stream, std::int64_t batch, std::int64_t classes, DevicePtr<const float> logits,
                           DevicePtr<const std::int32_t> labels, float scale, DevicePtr<float> dlogits,
                           DevicePtr<LossSum> sum) override {
    base_.ops().SoftmaxCrossEntropy(stream, batch, classes, logits, labels, scale, dlogits, sum);
  }
  void Fill(Stream& stream, std::size_t count, float value, DevicePtr<float> x) override {
    base_.ops().Fill(stream, count, value, x);
  }
  void Scale(Stream& stream, std::size_t count, float factor, DevicePtr<float> x) override {
    base_.ops().Scale(stream, count, factor, x);
  }
  void Axpy(Stream& stream, std::size_t count, float a, DevicePtr<const float> x, DevicePtr<float> y) override {
    base_.ops().Axpy(stream, count, a, x, y);
  }
  void SquaredNorm(Stream& stream, std::size_t count, DevicePtr<const float> x, DevicePtr<double> result) override {
    base_.ops().SquaredNorm(stream, count, x, result);
  }
  void FindNonFinite(Stream& stream, std::size_t count, DevicePtr<const float> x,
                     DevicePtr<std::int64_t> result) override {
    base_.ops().FindNonFinite(stream, count, x, result);
  }

  Backend& base_;
  const std::function<double()> clock_;
  double seconds_ = 0;
};

}  // namespace leeway
