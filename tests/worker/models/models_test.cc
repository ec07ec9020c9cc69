// The models as a whole: gradients by central differences of the reference, callbacks, accumulation, repeatability, bad
// input.
#include <algorithm>
#include <numeric>

#include "common/hash.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/device_fixture.h"
#include "worker/models/plain_loop.h"
#include "worker/models/registry.h"

namespace leeway {
namespace {

const ModelSpec kSpecs[] = {
    {"softmax", 1, 1, 13, 5}, {"mlp:17,9", 3, 2, 2, 7}, {"cnn", 1, 8, 9, 4}, {"cnn", 3, 4, 5, 10}};

std::unique_ptr<Model> MakePrepared(Backend& backend, const ModelSpec& spec, int max_batch) {
  absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(spec);
  INFO(model.status().ToString());
  REQUIRE(model.ok());
  REQUIRE((*model)->Prepare(backend, max_batch).ok());
  return std::move(model).value();
}

// A model with weights, a batch and room for gradients.
class ModelUnderTest {
 public:
  ModelUnderTest(const ModelSpec& spec, int batch, int threads = 1) : device_(threads), batch_(batch) {
    model_ = MakePrepared(device_.backend(), spec, batch + 2);
    weights_.resize(model_->manifest().elements());
    FillInitialValues(7, model_->manifest(), 0, absl::MakeSpan(weights_));
    features_ = device_.Upload(RandomFloats(batch * spec.channels * spec.height * spec.width, 1));
    std::vector<std::int32_t> labels;
    for (int i = 0; i < batch; ++i) {
      labels.push_back(
          static_cast<std::int32_t>(Mix64(static_cast<std::uint64_t>(i)) % static_cast<std::uint64_t>(spec.classes)));
    }
    labels_ = device_.Upload(labels);
    gradients_ = device_.Garbage(static_cast<std::int64_t>(weights_.size()));
    sample_ = static_cast<std::size_t>(spec.channels * spec.height * spec.width);
  }

  Batch batch() const { return Piece(0, batch_); }
  Batch Piece(std::int64_t first, std::int64_t size) const {
    return {features_.floats() + static_cast<std::size_t>(first) * sample_,
            labels_.as<const std::int32_t>() + static_cast<std::size_t>(first), size};
  }

  StepResult Step(const Batch& batch, const StepOptions& options = {}, const GradientReady& ready = {}) {
    const DeviceMemory weights = device_.Upload(weights_);
    StepResult result;
    REQUIRE(model_->Step(device_.stream(), weights.floats(), gradients_.floats(), batch, options, ready, &result).ok());
    REQUIRE(device_.stream().Synchronize().ok());
    return result;
  }
  // Gives up when asked for the (`questions` + 1)th time: false, if that comes.
  bool StepFor(int questions, const GradientReady& ready) {
    const DeviceMemory weights = device_.Upload(weights_);
    StepResult result;
    StepOptions options;
    options.given_up = [&questions] { return questions-- == 0; };
    const absl::Status status =
        model_->Step(device_.stream(), weights.floats(), gradients_.floats(), batch(), options, ready, &result);
    REQUIRE((status.ok() || absl::IsCancelled(status)));
    REQUIRE(device_.stream().Synchronize().ok());
    return status.ok();
  }
  StepResult Evaluate() {
    const DeviceMemory weights = device_.Upload(weights_);
    StepResult result;
    REQUIRE(model_->Evaluate(device_.stream(), weights.floats(), batch(), &result).ok());
    REQUIRE(device_.stream().Synchronize().ok());
    return result;
  }

  Floats Gradients() { return device_.Download(gradients_); }
  const Floats& weights() const { return weights_; }
  Floats features() { return device_.Download(features_); }
  std::vector<std::int32_t> labels() { return device_.Download<std::int32_t>(labels_); }
  Model& model() { return *model_; }
  const Manifest& manifest() const { return model_->manifest(); }
  DeviceFixture& device() { return device_; }

 private:
  DeviceFixture device_;
  const int batch_;
  std::unique_ptr<Model> model_;
  Floats weights_;
  DeviceMemory features_, labels_, gradients_;
  std::size_t sample_ = 0;
};

// The mean loss by the reference, in double; `w` is the model vector.
double ReferenceMeanLoss(const ModelSpec& spec, const Manifest& manifest, const Doubles& w, Doubles x,
                         const std::vector<std::int32_t>& labels) {
  const auto batch = static_cast<std::int64_t>(labels.size());
  const std::vector<Tensor>& tensors = manifest.tensors();
  ImageShape shape{batch, spec.height, spec.width, spec.channels};
  for (std::size_t i = 0; i < tensors.size(); i += 2) {
    const auto values = [&](const Tensor& tensor) {
      const auto begin = w.begin() + static_cast<std::ptrdiff_t>(tensor.offset);
      return Doubles(begin, begin + static_cast<std::ptrdiff_t>(tensor.count));
    };
    const Doubles weight = values(tensors[i]), bias = values(tensors[i + 1]);
    const auto outputs = static_cast<std::int64_t>(bias.size());
    if (tensors[i].shape.size() == 4) {
      x = reference::ReluForward(reference::Conv3x3Forward(shape, outputs, x, weight, bias));
      shape.channels = outputs;
      x = reference::MaxPoolForward(shape, x, Activation::kNone).y;
      shape.height /= 2, shape.width /= 2;
    } else {
      const bool last = i + 2 == tensors.size();
      const LinearShape linear{batch, static_cast<std::int64_t>(x.size()) / batch, outputs};
      x = reference::LinearForward(linear, x, weight, bias, last ? Activation::kNone : Activation::kRelu);
    }
  }
  return reference::SoftmaxCrossEntropy(batch, spec.classes, x, labels, 1).loss_sum / static_cast<double>(batch);
}

TEST_CASE("each model's gradient is the slope of the reference's mean loss, tensor by tensor") {
  for (const ModelSpec& spec : kSpecs) {
    constexpr int kBatch = 6;
    ModelUnderTest test(spec, kBatch);
    const StepResult result = test.Step(test.batch());
    const Doubles gradients = ToDoubles(test.Gradients());
    const Manifest& manifest = test.manifest();
    const auto loss_at = [&](const Doubles& weights) {
      return ReferenceMeanLoss(spec, manifest, weights, ToDoubles(test.features()), test.labels());
    };
    const Doubles center = ToDoubles(test.weights());
    CHECK(result.loss_sum / kBatch == Approx(loss_at(center)).epsilon(1e-6));

    for (const Tensor& tensor : manifest.tensors()) {
      const auto count = static_cast<std::int64_t>(tensor.count);
      double length = 0;
      for (std::uint64_t i = 0; i < tensor.count; ++i) {
        length += gradients[tensor.offset + i] * gradients[tensor.offset + i];
      }
      length = std::sqrt(length);
      REQUIRE(length > 1e-3);
      // Along the gradient itself, where the slope is largest, then in random directions, where no element can hide.
      for (std::uint32_t direction = 0; direction < 5; ++direction) {
        INFO(spec.name << " " << tensor.name << ", direction " << direction);
        const Floats noise = RandomFloats(count, direction);
        const double step = direction == 0 ? 1e-6 / length : 1e-6;
        Doubles above = center, below = center;
        double expected = 0;
        for (std::uint64_t i = 0; i < tensor.count; ++i) {
          const double gradient = gradients[tensor.offset + i];
          const double along = direction == 0 ? gradient : noise[i];
          above[tensor.offset + i] += step * along;
          below[tensor.offset + i] -= step * along;
          expected += along * gradient;
        }
        // Float32 gradients are off by some 1e-6 of their largest terms, which the length stands for.
        CHECK((loss_at(above) - loss_at(below)) / (2 * step) == Approx(expected).epsilon(1e-4).margin(1e-4 * length));
      }
    }
  }
}

TEST_CASE("gradient_ready: once per tensor, the last first, each final then, the rest still to come") {
  for (const ModelSpec& spec : kSpecs) {
    INFO(spec.name);
    ModelUnderTest test(spec, 3);
    const Floats before = test.Gradients();
    const std::vector<Tensor>& tensors = test.manifest().tensors();
    std::vector<std::size_t> order;
    std::vector<Floats> at_ready;
    test.Step(test.batch(), {}, [&](std::size_t tensor) {
      order.push_back(tensor);
      at_ready.push_back(test.Gradients());
    });
    const Floats after = test.Gradients();

    std::vector<std::size_t> descending(tensors.size());
    std::iota(descending.rbegin(), descending.rend(), 0);
    REQUIRE(order == descending);
    for (std::size_t k = 0; k < order.size(); ++k) {
      const Tensor& tensor = tensors[order[k]];
      const auto begin = static_cast<std::ptrdiff_t>(tensor.offset);
      const auto end = begin + static_cast<std::ptrdiff_t>(tensor.count);
      CHECK(std::equal(after.begin() + begin, after.begin() + end, at_ready[k].begin() + begin));
      // The layers below (two tensors each) have not been computed: backward has not ended.
      const std::size_t layer_begin = tensors[order[k] / 2 * 2].offset;
      CHECK(std::equal(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(layer_begin), at_ready[k].begin()));
    }
  }
}

// Of the tensors that it reported, a step that was given up has the gradients of `expected`.
void CheckReported(const std::vector<Tensor>& tensors, const std::vector<std::size_t>& reported, const Floats& actual,
                   const Floats& expected) {
  for (const std::size_t tensor : reported) {
    const auto begin = static_cast<std::ptrdiff_t>(tensors[tensor].offset);
    const auto end = begin + static_cast<std::ptrdiff_t>(tensors[tensor].count);
    CHECK(std::equal(actual.begin() + begin, actual.begin() + end, expected.begin() + begin));
  }
}

TEST_CASE("a step may be given up before each layer; what it has reported is final, and the next step is as ever") {
  for (const ModelSpec& spec : kSpecs) {
    INFO(spec.name);
    ModelUnderTest test(spec, 3);
    test.Step(test.batch());
    const Floats expected = test.Gradients();
    const std::vector<Tensor>& tensors = test.manifest().tensors();
    std::size_t questions = 0;
    for (bool complete = false; !complete; ++questions) {
      std::vector<std::size_t> reported;
      complete = test.StepFor(static_cast<int>(questions), [&](std::size_t tensor) { reported.push_back(tensor); });
      CHECK(complete == (reported.size() == tensors.size()));
      CheckReported(tensors, reported, test.Gradients(), expected);
    }
    CHECK(questions > tensors.size());  // layers with weights have two, and are computed forward and backward
    test.Step(test.batch());
    CHECK(test.Gradients() == expected);
  }
}

TEST_CASE("pieces of a batch, weighed by their size, add up to its mean gradient") {
  for (const ModelSpec& spec : kSpecs) {
    INFO(spec.name);
    ModelUnderTest test(spec, 7);
    const StepResult whole = test.Step(test.batch());
    const Floats expected = test.Gradients();
    const StepResult first = test.Step(test.Piece(0, 5), {false, 5.0f / 7});
    const StepResult second = test.Step(test.Piece(5, 2), {true, 2.0f / 7});
    CHECK(first.loss_sum + second.loss_sum == Approx(whole.loss_sum));
    CHECK(first.correct + second.correct == whole.correct);
    const Floats actual = test.Gradients();
    for (std::size_t i = 0; i < expected.size(); ++i)
      REQUIRE(actual[i] == Approx(expected[i]).epsilon(1e-4).margin(1e-6));
  }
}

TEST_CASE("evaluation gives the step's loss and leaves the gradients alone") {
  for (const ModelSpec& spec : kSpecs) {
    ModelUnderTest test(spec, 5);
    const Floats before = test.Gradients();
    const StepResult evaluated = test.Evaluate();
    CHECK(test.Gradients() == before);
    const StepResult stepped = test.Step(test.batch());
    CHECK(evaluated.loss_sum == stepped.loss_sum);
    CHECK(evaluated.correct == stepped.correct);
  }
}

TEST_CASE("the same bits in every run, whatever ran in between") {
  const ModelSpec specs[] = {{"mlp:129,65", 1, 28, 28, 10}, {"cnn", 1, 28, 28, 10}};
  for (const ModelSpec& spec : specs) {
    for (const int threads : {1, 2}) {
      INFO(spec.name << ", " << threads << " threads");
      ModelUnderTest one(spec, 33, threads), other(spec, 33, threads);
      one.Step(one.batch());
      const Floats expected = one.Gradients();
      for (const std::int64_t size : {1, 17, 32}) other.Step(other.Piece(0, size));
      for (int repeat = 0; repeat < 3; ++repeat) {
        other.Step(other.batch());
        CHECK(other.Gradients() == expected);
      }
    }
  }
}

TEST_CASE("a plain loop learns its batch, with the same weights each time") {
  for (const char* name : {"softmax", "mlp:32", "cnn"}) {
    INFO(name);
    Floats weights[2];
    for (Floats& result : weights) {
      DeviceFixture device;
      absl::StatusOr<std::unique_ptr<PlainLoop>> loop =
          PlainLoop::Make(device.backend(), {name, 1, 8, 8, 4}, 16, 0.1f, 3);
      REQUIRE(loop.ok());
      double first = 0, last = 0;
      for (int step = 0; step < 150; ++step) {
        absl::StatusOr<StepResult> result_of_step = (*loop)->Step();
        REQUIRE(result_of_step.ok());
        last = result_of_step->loss_sum;
        if (step == 0) first = last;
      }
      CHECK(last < 0.9 * first);
      result.resize((*loop)->model().manifest().elements());
      REQUIRE((*loop)->Weights(result.data()).ok());
    }
    CHECK(weights[0] == weights[1]);
  }
}

TEST_CASE("steps that cannot be: a clear error, and the next step is fine") {
  ModelUnderTest test(kSpecs[0], 4);
  const DeviceMemory weights = test.device().Upload(test.weights());
  const DeviceMemory gradients = test.device().Upload(test.weights());
  StepResult result;
  for (const std::int64_t size : {-1, 0, 7}) {
    Batch batch = test.batch();
    batch.size = size;
    const absl::Status status =
        test.model().Step(test.device().stream(), weights.floats(), gradients.floats(), batch, {}, {}, &result);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::Contains(std::to_string(size)) && Catch::Contains("1 to 6"));
  }
  absl::StatusOr<std::unique_ptr<Model>> unprepared = MakeModel(kSpecs[0]);
  REQUIRE(unprepared.ok());
  CHECK((*unprepared)->Evaluate(test.device().stream(), weights.floats(), test.batch(), &result).code() ==
        absl::StatusCode::kFailedPrecondition);
  CHECK((*unprepared)->Prepare(test.device().backend(), 0).code() == absl::StatusCode::kInvalidArgument);
  CHECK(std::isfinite(test.Step(test.batch()).loss_sum));
}

}  // namespace
}  // namespace leeway
