#include "worker/models/pool.h"

#include "common/status_macros.h"

namespace leeway {
namespace {

class MaxPool final : public Layer {
 public:
  MaxPool(const Shape& input, Activation activation) : input_(input), activation_(activation) {}

  Shape output() const override { return {input_.height / 2, input_.width / 2, input_.channels}; }

  absl::Status Prepare(Backend& backend, std::int64_t max_batch) override {
    ops_ = &backend.ops();
    const auto choices = static_cast<std::size_t>(max_batch * output().elements());
    ASSIGN_OR_RETURN(choice_, backend.Allocate(choices * sizeof(std::int32_t)));
    return absl::OkStatus();
  }

  void Forward(const ForwardArgs& args) override {
    ops_->MaxPoolForward(args.stream, Images(args.batch), args.x, args.y, choice_.as<std::int32_t>(), activation_);
  }

  void Backward(const BackwardArgs& args) override {
    args.gradients_ready();
    if (args.dx) {
      ops_->MaxPoolBackward(args.stream, Images(args.batch), args.dy, choice_.as<const std::int32_t>(), args.dx);
    }
  }

 private:
  ImageShape Images(std::int64_t batch) const { return {batch, input_.height, input_.width, input_.channels}; }

  const Shape input_;
  const Activation activation_;
  Ops* ops_ = nullptr;
  DeviceMemory choice_;
};

}  // namespace

std::unique_ptr<Layer> MakeMaxPool(const Shape& input, Activation activation) {
  return std::make_unique<MaxPool>(input, activation);
}

}  // namespace leeway
