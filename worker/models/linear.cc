#include "worker/models/linear.h"

namespace leeway {
namespace {

class Linear final : public Layer {
 public:
  Linear(std::int64_t in, std::int64_t out, Activation activation) : in_(in), out_(out), activation_(activation) {}

  Shape output() const override { return {1, 1, out_}; }
  std::vector<v1::TensorSpec> tensors() const override {
    return {WeightTensor({out_, in_}, in_), BiasTensor(out_, in_)};
  }

  absl::Status Prepare(Backend& backend, std::int64_t) override {
    ops_ = &backend.ops();
    return absl::OkStatus();
  }

  void Forward(const ForwardArgs& args) override {
    ops_->LinearForward(args.stream, {args.batch, in_, out_}, args.x, args.weights[0], args.weights[1], args.y,
                        activation_);
  }

  void Backward(const BackwardArgs& args) override {
    const LinearShape shape{args.batch, in_, out_};
    if (activation_ == Activation::kRelu) {
      ops_->ReluBackward(args.stream, static_cast<std::size_t>(args.batch * out_), args.y, args.dy, args.dy);
    }
    ops_->LinearBackwardWeights(args.stream, shape, args.x, args.dy, args.gradients[0], args.gradients[1], args.write);
    args.gradients_ready();
    if (args.dx) ops_->LinearBackwardData(args.stream, shape, args.dy, args.weights[0], args.dx);
  }

 private:
  const std::int64_t in_, out_;
  const Activation activation_;
  Ops* ops_ = nullptr;
};

}  // namespace

std::unique_ptr<Layer> MakeLinear(const Shape& input, std::int64_t outputs, Activation activation) {
  return std::make_unique<Linear>(input.elements(), outputs, activation);
}

}  // namespace leeway
