#include "worker/trainer/engine.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "kernels/encodings/bf16.h"
#include "tests/catch.h"
#include "tests/worker/trainer/small_worker.h"
#include "worker/client/error_feedback.h"

namespace leeway {
namespace {

std::vector<std::uint64_t> FirstRecords(std::uint64_t count) {
  std::vector<std::uint64_t> records(count);
  std::iota(records.begin(), records.end(), 0);
  return records;
}

std::vector<float> GradientOf(SmallWorker& worker, const std::vector<std::uint64_t>& records, bool whole) {
  for (std::uint64_t i = 0; i < worker.engine->elements(); ++i) {
    worker.engine->weights(0)[i] = static_cast<float>(i % 7) / 10;
  }
  std::set<std::uint64_t> final;
  int calls = 0;
  bool once = true;
  Engine::StepRequest request;
  request.records = records;
  request.data = &worker.data;
  request.whole = whole;
  request.on_final = [&](std::uint64_t first, std::uint64_t count) {
    ++calls;
    for (std::uint64_t e = first; e < first + count; ++e) once = final.insert(e).second && once;  // the sender's thread
  };
  const auto outcome = worker.engine->Step(request);
  REQUIRE(outcome.ok());
  CHECK(outcome->loss_sum > 0);
  worker.engine->FlushSender();
  CHECK(once);
  CHECK(final.size() == worker.engine->elements());
  CHECK(calls == (whole ? 1 : static_cast<int>(worker.manifest().tensors().size())));
  const float* gradient = worker.engine->gradient(0);
  return {gradient, gradient + worker.engine->elements()};
}

TEST_CASE("Micro-batches add up to the mean gradient of all records, whole or streamed") {
  const std::vector<std::uint64_t> records = FirstRecords(40);
  SmallWorker one(60, 64, 1);
  const std::vector<float> expected = GradientOf(one, records, false);
  CHECK(GradientOf(one, records, true) == expected);
  SmallWorker pieces(60, 16, 1);  // 16 + 16 + 8
  const std::vector<float> added = GradientOf(pieces, records, false);
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(added[i] == Approx(expected[i]).margin(1e-6));
}

// The gradient's mean over the records, as the engine's host has it.
template <typename T>
std::vector<T> Gradient(SmallWorker& worker, const std::vector<std::uint64_t>& records, const T* gradient, bool whole) {
  std::uint64_t final = 0;
  Engine::StepRequest request;
  request.records = records;
  request.data = &worker.data;
  request.whole = whole;
  request.on_final = [&](std::uint64_t, std::uint64_t count) { final += count; };
  REQUIRE(worker.engine->Step(request).ok());
  worker.engine->FlushSender();
  REQUIRE(final == worker.engine->elements());
  return {gradient, gradient + worker.engine->elements()};
}

// The cpu backend has no use for it, nor for what comes below: here it stands for a device with memory of its own.
TEST_CASE("A host side of bfloat16 gives the gradient of the same weights, rounded") {
  const std::vector<std::uint64_t> records = FirstRecords(40);
  for (const bool whole : {false, true}) {
    SmallWorker wide(60, 16, 1), half(60, 16, 1, Engine::Gradients::kHalves);
    const std::uint64_t elements = wide.engine->elements();
    CHECK(half.engine->weights(0) == nullptr);
    CHECK(half.engine->gradient(0) == nullptr);
    CHECK(wide.engine->half_weights(0) == nullptr);
    CHECK(wide.engine->half_gradient(0) == nullptr);
    for (std::uint64_t i = 0; i < elements; ++i) {
      const float weight = static_cast<float>(i % 7) / 10;
      char* const bytes = reinterpret_cast<char*>(half.engine->half_weights(0) + i);
      EncodeBf16(&weight, 1, bytes);
      DecodeBf16(bytes, 1, wide.engine->weights(0) + i);
    }
    const std::vector<float> expected = Gradient(wide, records, wide.engine->gradient(0), whole);
    std::vector<std::uint16_t> rounded(elements);
    EncodeBf16(expected.data(), elements, reinterpret_cast<char*>(rounded.data()));
    CHECK(Gradient(half, records, half.engine->half_gradient(0), whole) == rounded);
  }
}

// The gradient's one chunk, of the weights (i % 7) / 10, clipped to a norm that it exceeds.
std::string EncodedGradient(SmallWorker& worker, DeviceEncoder& encoder, int slot, bool whole) {
  int chunks = 0;
  absl::Status status;
  const std::vector<std::uint64_t> records = FirstRecords(40);
  for (std::uint64_t i = 0; i < worker.engine->elements(); ++i) {
    worker.engine->weights(0)[i] = static_cast<float>(i % 7) / 10;
  }
  Engine::StepRequest request;
  request.gradient_slot = slot;
  request.records = records;
  request.data = &worker.data;
  request.clip_norm = whole ? 1e-3 : 0;
  request.on_final = [&](std::uint64_t, std::uint64_t) { status.Update(absl::InternalError("on_final")); };
  request.on_encoded = [&](ChunkId id) {
    ++chunks;
    if (id != ChunkId{0, 0}) status.Update(absl::InternalError("another chunk"));
  };
  request.encoder = &encoder;
  REQUIRE(worker.engine->Step(request).ok());
  worker.engine->FlushSender();
  CHECK(status.ok());
  REQUIRE(chunks == 1);
  return encoder.Bytes(slot, {0, 0}).ToString();
}

TEST_CASE("Gradients that a step's encoder takes are those of the same weights, encoded with what it kept") {
  const bool whole = GENERATE(false, true);
  const PushEncoding encoding = GENERATE(PushEncoding{v1::INT8, 0, 0}, PushEncoding{v1::TOP_K, 0.3, 0});
  SmallWorker wide(60, 16, 1), encoded(60, 16, 2, Engine::Gradients::kEncoded);
  CHECK(encoded.engine->gradient(0) == nullptr);
  CHECK(encoded.engine->half_gradient(0) == nullptr);
  const std::vector<std::uint64_t> records = FirstRecords(40);
  for (std::uint64_t i = 0; i < wide.engine->elements(); ++i) {
    wide.engine->weights(0)[i] = static_cast<float>(i % 7) / 10;
  }
  Engine::StepRequest request;
  request.records = records;
  request.data = &wide.data;
  request.clip_norm = whole ? 1e-3 : 0;
  request.on_final = [](std::uint64_t, std::uint64_t) {};
  REQUIRE(wide.engine->Step(request).ok());
  wide.engine->FlushSender();
  const Placement placement = Placement::Make(wide.engine->elements(), 2).value();
  ErrorFeedback host(placement, encoding);
  const std::shared_ptr<DeviceEncoder> device = encoded.engine->NewEncoder(placement, encoding).value();
  for (const int slot : {0, 1, 0}) {
    const std::string expected = host.Encode({0, 0}, wide.engine->gradient(0))->ToString();
    CHECK(EncodedGradient(encoded, *device, slot, whole) == expected);
  }
  CHECK(device->Residual().value() == host.residual());
}

TEST_CASE("A step computes on the weights that arrived, and on the host's where none did") {
  const std::vector<std::uint64_t> records = FirstRecords(16);
  SmallWorker worker(60, 16, 2, Engine::Gradients::kHalves);
  const auto fill = [&](std::uint16_t value) {
    std::fill_n(worker.engine->half_weights(0), worker.engine->elements(), value);
    worker.engine->half_weights(0)[0] = 0;  // else all classes are as likely, whatever the weights are
  };
  const auto gradient = [&] { return Gradient(worker, records, worker.engine->half_gradient(0), false); };
  fill(0x3f80);  // 1
  const std::vector<std::uint16_t> of_one = gradient();
  fill(0x4000);  // 2
  const std::vector<std::uint16_t> of_two = gradient();
  REQUIRE(of_one != of_two);
  worker.engine->WeightsArrived(0);
  fill(0x3f80);
  CHECK(gradient() == of_two);  // they had gone up
  CHECK(gradient() == of_one);
  // Twice without a step between them: the newer ones count.
  worker.engine->WeightsArrived(0);
  fill(0x4000);
  worker.engine->WeightsArrived(0);
  worker.engine->WeightsArrived(1);  // another slot's, which are zero
  CHECK(gradient() == of_two);
}

TEST_CASE(
    "What the device could not compute is never final: the step says so, and on_failed where a push waits for it") {
  const auto gradients = GENERATE(Engine::Gradients::kFloats, Engine::Gradients::kEncoded);
  SmallWorker worker(60, 16, 1);
  ModelSpec spec;
  spec.name = "softmax";
  spec.width = worker.data.shape().width;
  spec.classes = worker.data.num_classes() - 1;  // labels of the last one name none
  const std::unique_ptr<Model> model = MakeModel(spec).value();
  Engine::Options options;
  options.batch = 16;
  options.features = worker.data.features_per_record();
  options.gradients = gradients;
  const std::unique_ptr<Engine> engine = Engine::Make(*worker.backend, *model, options).value();
  const std::shared_ptr<DeviceEncoder> encoder =
      engine->NewEncoder(Placement::Make(engine->elements(), 1).value(), {v1::INT8, 0, 0}).value();
  const std::vector<std::uint64_t> records = FirstRecords(16);
  int final = 0, failed = 0;
  Engine::StepRequest request;
  request.records = records;
  request.data = &worker.data;
  request.on_final = [&](std::uint64_t, std::uint64_t) { ++final; };
  if (gradients == Engine::Gradients::kEncoded) request.encoder = encoder.get();
  request.on_encoded = [&](ChunkId) { ++final; };
  request.on_failed = [&](const absl::Status& status) { failed += absl::IsInvalidArgument(status) ? 1 : 0; };
  CHECK(absl::IsInvalidArgument(engine->Step(request).status()));
  engine->FlushSender();
  CHECK(final == 0);
  CHECK(failed > 0);
}

TEST_CASE("Where the host can address the device's memory, nothing is converted") {
  const std::unique_ptr<Backend> backend = MakeBackend("cpu", 1).value();
  CHECK_FALSE(Engine::ConvertsOnDevice(*backend).value());
}

TEST_CASE("Evaluation in batches counts every record once") {
  SmallWorker worker(50, 16, 1);
  const auto all = worker.engine->Evaluate(0, worker.data, 0, 50);
  REQUIRE(all.ok());
  // All weights are zero: every class is as likely, and the first one is chosen.
  CHECK(all->loss_sum == Approx(50 * std::log(3.0)));
  CHECK(all->correct == 17);
}

TEST_CASE("What no memory could hold is refused by the flag that asked for it") {
  const std::unique_ptr<Backend> backend = MakeBackend("cpu", 1).value();
  const ModelSpec spec{"gpt:layers=99,width=128,heads=2,context=4096", 1, 1, 4096, 10, true};
  const std::unique_ptr<Model> model = MakeModel(spec).value();
  Engine::Options options;
  options.batch = 65536;
  options.features = options.labels = 4096;
  const absl::Status status = Engine::Make(*backend, *model, options).status();
  CHECK(absl::IsResourceExhausted(status));
  CHECK_THAT(std::string(status.message()),
             Catch::StartsWith("the activations of --batch=65536: cpu: cannot allocate ") &&
                 Catch::EndsWith("; take a smaller --batch, or a smaller model"));
}

TEST_CASE("A sequence of tokens counts as one record: its loss and answers are means over its tokens") {
  std::vector<std::uint16_t> text;
  for (std::uint16_t i = 0; i <= 40; ++i) text.push_back(i % 4);
  const Dataset data = Dataset::FromTokens("text", 10, 8, text).value();
  const std::unique_ptr<Backend> backend = MakeBackend("cpu", 1).value();
  ModelSpec spec{"gpt:layers=1,width=8,heads=2,context=8", 1, 1, 8, 10, true};
  const std::unique_ptr<Model> model = MakeModel(spec).value();
  Engine::Options options;
  options.batch = 2;
  options.features = data.features_per_record();
  options.labels = data.labels_per_record();
  const std::unique_ptr<Engine> engine = Engine::Make(*backend, *model, options).value();
  const auto all = engine->Evaluate(0, data, 0, 5);
  REQUIRE(all.ok());
  // All weights are zero: every token is as likely, and token 0, every fourth, is the answer.
  CHECK(all->loss_sum == Approx(5 * std::log(10.0)));
  CHECK(all->correct == Approx(5 * 0.25));
}

}  // namespace
}  // namespace leeway
