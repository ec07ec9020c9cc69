#include "worker/models/conv.h"

#include "common/status_macros.h"

namespace leeway {
namespace {

class ConvLayer final : public Layer {
 public:
  ConvLayer(const Shape& input, std::int64_t out_channels) : input_(input), out_channels_(out_channels) {}

  Shape output() const override { return {input_.height, input_.width, out_channels_}; }
  std::vector<v1::TensorSpec> tensors() const override {
    const std::int64_t fan_in = 9 * input_.channels;
    return {WeightTensor({out_channels_, input_.channels, 3, 3}, fan_in), BiasTensor(out_channels_, fan_in)};
  }

  absl::Status Prepare(Backend& backend, std::int64_t max_batch) override {
    ASSIGN_OR_RETURN(convolution_, backend.ops().NewConv3x3({max_batch, input_.height, input_.width, input_.channels},
                                                            out_channels_));
    return absl::OkStatus();
  }

  void Forward(const ForwardArgs& args) override {
    convolution_->Forward(args.stream, args.batch, args.x, args.weights[0], args.weights[1], args.y);
  }

  void Backward(const BackwardArgs& args) override {
    convolution_->BackwardWeights(args.stream, args.batch, args.x, args.dy, args.gradients[0], args.gradients[1],
                                  args.write);
    args.gradients_ready();
    if (args.dx) convolution_->BackwardData(args.stream, args.batch, args.dy, args.weights[0], args.dx);
  }

 private:
  const Shape input_;
  const std::int64_t out_channels_;
  std::unique_ptr<Conv3x3> convolution_;
};

}  // namespace

std::unique_ptr<Layer> MakeConv3x3(const Shape& input, std::int64_t out_channels) {
  return std::make_unique<ConvLayer>(input, out_channels);
}

}  // namespace leeway
