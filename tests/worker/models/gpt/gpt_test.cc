// The gpt model: its loss and gradients against numbers made elsewhere (golden.py), callbacks, accumulation,
// repeatability, learning.
#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/transformer_ops.h"
#include "tests/kernels/device_fixture.h"
#include "worker/models/gpt/gpt.h"
#include "worker/models/plain_loop.h"
#include "worker/models/registry.h"

namespace leeway {
namespace {

#include "tests/worker/models/gpt/golden.inc"

constexpr std::int64_t kContext = 5, kBatch = 3, kVocabulary = 11;

class Fixture {
 public:
  explicit Fixture(int threads = 1) : device_(threads) {
    ModelSpec spec{"gpt:layers=2,width=12,heads=3,context=5", 1, 1, kContext, kVocabulary, true};
    absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(spec);
    INFO(model.status().ToString());
    REQUIRE(model.ok());
    model_ = std::move(model).value();
    REQUIRE(model_->Prepare(device_.backend(), kBatch + 1).ok());
    Floats weights;
    for (std::uint64_t i = 0; i < model_->manifest().elements(); ++i) {
      weights.push_back(static_cast<float>(static_cast<double>(i * 2654435761 % (1ull << 32)) / 0x1p32 - 0.5));
    }
    weights_ = device_.Upload(weights);
    std::vector<std::int32_t> text;
    for (int i = 0; i <= kBatch * kContext; ++i) text.push_back((7 * i * i + 3 * i) % kVocabulary);
    tokens_ = device_.Upload(std::vector<std::int32_t>(text.begin(), text.end() - 1));
    labels_ = device_.Upload(std::vector<std::int32_t>(text.begin() + 1, text.end()));
    gradients_ = device_.Garbage(static_cast<std::int64_t>(weights.size()));
  }

  Batch Piece(std::size_t first, std::int64_t size) const {
    return {{}, labels_.as<std::int32_t>() + first * kContext, size, tokens_.as<std::int32_t>() + first * kContext};
  }
  Batch batch() const { return Piece(0, kBatch); }

  absl::Status TryStep(const Batch& batch, StepResult* result, const StepOptions& options = {},
                       const GradientReady& ready = {}) {
    return model_->Step(device_.stream(), weights_.floats(), gradients_.floats(), batch, options, ready, result);
  }
  StepResult Step(const Batch& batch, const StepOptions& options = {}, const GradientReady& ready = {}) {
    StepResult result;
    REQUIRE(TryStep(batch, &result, options, ready).ok());
    const absl::Status status = device_.stream().Synchronize();
    INFO(status.ToString());
    REQUIRE(status.ok());
    return result;
  }
  // Gives up when asked for the (`questions` + 1)th time: false, if that comes.
  bool StepFor(int questions, const GradientReady& ready) {
    StepResult result;
    StepOptions options;
    options.given_up = [&questions] { return questions-- == 0; };
    const absl::Status status =
        model_->Step(device_.stream(), weights_.floats(), gradients_.floats(), batch(), options, ready, &result);
    REQUIRE((status.ok() || absl::IsCancelled(status)));
    REQUIRE(device_.stream().Synchronize().ok());
    return status.ok();
  }
  StepResult Evaluate(const Batch& batch) {
    StepResult result;
    REQUIRE(model_->Evaluate(device_.stream(), weights_.floats(), batch, &result).ok());
    REQUIRE(device_.stream().Synchronize().ok());
    return result;
  }

  Floats Gradients() { return device_.Download(gradients_); }
  const Manifest& manifest() const { return model_->manifest(); }
  Model& model() { return *model_; }
  DeviceFixture& device() { return device_; }

 private:
  DeviceFixture device_;
  std::unique_ptr<Model> model_;
  DeviceMemory weights_, tokens_, labels_, gradients_;
};

TEST_CASE("loss and gradients are those of another implementation") {
  Fixture test;
  // Of an element, its own and its tensor's norm; of norms and of the loss. Activations in bfloat16 are rounded to
  // 2^-9, some ten times on the way.
  const bool wide = test.device().backend().transformer_ops().data_type() == DataType::kF32;
  const double of_element = wide ? 1e-4 : 0x1p-7, of_norm = wide ? 1e-5 : 0x1p-7, of_loss = wide ? 1e-5 : 0x1p-9;
  const StepResult result = test.Step(test.batch());
  CHECK(result.loss_sum / (kBatch * kContext) == Approx(kMeanLoss).epsilon(of_loss));
  CHECK(result.correct == kCorrect);
  const Floats gradients = test.Gradients();
  const std::vector<Tensor>& tensors = test.manifest().tensors();
  REQUIRE(tensors.size() == std::size(kGradients));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& golden = kGradients[i];
    INFO(golden.name);
    REQUIRE(tensors[i].name == golden.name);
    const float* values = &gradients[tensors[i].offset];
    double squares = 0;
    for (std::uint64_t k = 0; k < tensors[i].count; ++k) squares += static_cast<double>(values[k]) * values[k];
    const double margin = of_norm * golden.norm;
    CHECK(std::sqrt(squares) == Approx(golden.norm).epsilon(of_norm).margin(1e-6));
    CHECK(values[0] == Approx(golden.first).epsilon(of_element).margin(margin));
    CHECK(values[tensors[i].count / 2] == Approx(golden.middle).epsilon(of_element).margin(margin));
    CHECK(values[tensors[i].count - 1] == Approx(golden.last).epsilon(of_element).margin(margin));
  }
}

TEST_CASE("gradient_ready: once per tensor, the last layers first, each final then; the tied embedding at the end") {
  Fixture test;
  std::vector<std::size_t> order;
  std::vector<Floats> at_ready;
  test.Step(test.batch(), {}, [&](std::size_t tensor) {
    order.push_back(tensor);
    at_ready.push_back(test.Gradients());
  });
  const Floats after = test.Gradients();
  const std::vector<Tensor>& tensors = test.manifest().tensors();
  REQUIRE(order.size() == tensors.size());
  for (std::size_t k = 0; k < order.size(); ++k) {
    const Tensor& tensor = tensors[order[k]];
    INFO(tensor.name);
    CHECK(order[k] == order.size() - 1 - k);
    const auto begin = static_cast<std::ptrdiff_t>(tensor.offset);
    const auto end = begin + static_cast<std::ptrdiff_t>(tensor.count);
    CHECK(std::equal(after.begin() + begin, after.begin() + end, at_ready[k].begin() + begin));
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
  Fixture test;
  test.Step(test.batch());
  const Floats expected = test.Gradients();
  const std::vector<Tensor>& tensors = test.manifest().tensors();
  int questions = 0;
  for (bool complete = false; !complete; ++questions) {
    std::vector<std::size_t> reported;
    complete = test.StepFor(questions, [&](std::size_t tensor) { reported.push_back(tensor); });
    CHECK(complete == (reported.size() == tensors.size()));
    CheckReported(tensors, reported, test.Gradients(), expected);
  }
  CHECK(questions == 2 * (2 + 1) + 1);  // two layers and the head, forward and backward; then it was complete
  test.Step(test.batch());
  CHECK(test.Gradients() == expected);
}

TEST_CASE("pieces of a batch, weighed by their size, add up to its mean gradient") {
  Fixture test;
  const StepResult whole = test.Step(test.batch());
  const Floats expected = test.Gradients();
  const StepResult first = test.Step(test.Piece(0, 2), {false, 2.0f / 3});
  const StepResult second = test.Step(test.Piece(2, 1), {true, 1.0f / 3});
  CHECK(first.loss_sum + second.loss_sum == Approx(whole.loss_sum));
  CHECK(first.correct + second.correct == whole.correct);
  const Floats actual = test.Gradients();
  for (std::size_t i = 0; i < expected.size(); ++i)
    REQUIRE(actual[i] == Approx(expected[i]).epsilon(1e-4).margin(1e-6));
}

TEST_CASE("evaluation gives the step's loss, leaves the gradients alone; a step has the same bits each time") {
  for (const int threads : {1, 2}) {
    Fixture test(threads);
    const Floats before = test.Gradients();
    const StepResult evaluated = test.Evaluate(test.batch());
    CHECK(test.Gradients() == before);
    const StepResult stepped = test.Step(test.batch());
    CHECK(evaluated.loss_sum == stepped.loss_sum);
    CHECK(evaluated.correct == stepped.correct);
    const Floats first = test.Gradients();
    test.Step(test.Piece(1, 1));
    test.Step(test.batch());
    CHECK(test.Gradients() == first);
  }
}

TEST_CASE("tokens and labels that the model does not have, batches that it was not prepared for") {
  Fixture test;
  const DeviceMemory good = test.device().Upload(std::vector<std::int32_t>{0, 1, 2, 3, 4});
  const DeviceMemory bad = test.device().Upload(std::vector<std::int32_t>{0, 1, 2, 3, kVocabulary});
  const DeviceMemory far = test.device().Upload(std::vector<std::int32_t>{0, 1, 2, 3, 1 << 30});
  const DeviceMemory weights = test.device().Upload(Floats(test.manifest().elements(), 0.1f));
  StepResult result;
  for (const bool token : {false, true}) {
    const Batch batch{{}, (token ? good : bad).as<std::int32_t>(), 1, (token ? bad : good).as<std::int32_t>()};
    REQUIRE(test.model().Evaluate(test.device().stream(), weights.floats(), batch, &result).ok());
    const absl::Status status = test.device().stream().Synchronize();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::Contains("11") && Catch::Contains("0 to 10"));
    // A device is told to go backward before its host can know: it must write nowhere.
    const Batch step{{}, (token ? good : far).as<std::int32_t>(), 1, (token ? far : good).as<std::int32_t>()};
    REQUIRE(test.TryStep(step, &result).ok());
    CHECK_THAT(test.device().stream().Synchronize().ToString(),
               Catch::Contains("INVALID_ARGUMENT") && Catch::Contains("1073741824") && Catch::Contains("0 to 10"));
  }
  for (const std::int64_t size : {-1, 0, 5}) {
    CHECK(test.model().Evaluate(test.device().stream(), weights.floats(), test.Piece(0, size), &result).code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("it learns a text by heart, with the same weights each time; initial loss is that of a guess") {
  Floats weights[2];
  for (Floats& result : weights) {
    DeviceFixture device;
    absl::StatusOr<std::unique_ptr<PlainLoop>> loop =
        PlainLoop::Make(device.backend(), {"gpt:layers=2,width=32,heads=2,context=16", 1, 1, 16, 40, true}, 4, 0.5f, 3);
    INFO(loop.status().ToString());
    REQUIRE(loop.ok());
    for (int i = 0; i < 64; ++i) {
      (*loop)->tokens()[i] = i * i % 37;
      (*loop)->labels()[i] = (i + 1) * (i + 1) % 37;
    }
    double first = 0, last = 0;
    for (int step = 0; step < 200; ++step) {
      const absl::StatusOr<StepResult> done = (*loop)->Step();
      REQUIRE(done.ok());
      last = done->loss_sum / 64;
      if (step == 0) first = last;
    }
    CHECK(first == Approx(std::log(40.0)).epsilon(0.05));
    CHECK(last < 0.5);
    result.resize((*loop)->model().manifest().elements());
    REQUIRE((*loop)->Weights(result.data()).ok());
  }
  CHECK(weights[0] == weights[1]);
}

}  // namespace
}  // namespace leeway
