// What a simulation trains: real gradients, optimizers and data, in simulated order.
#include "cli/study/model_learner.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/study/simulation.h"
#include "cli/study/study_policies.h"
#include "cli/study/worker_speeds.h"
#include "common/manifest.h"
#include "kernels/device.h"
#include "tests/catch.h"
#include "worker/data_for_model.h"
#include "worker/models/registry.h"

namespace leeway {
namespace {

constexpr std::uint64_t kRecords = 600;
constexpr double kRate = 0.02;

struct Fixture {
  std::unique_ptr<Backend> backend = *MakeBackend("cpu", 1);
  Dataset train = *LoadDataFor("softmax", "synthetic:600", Split::kTrain);
  Dataset test = *LoadDataFor("softmax", "synthetic:600", Split::kTest);

  std::unique_ptr<ModelLearner> Make(const std::string& policy, std::uint32_t workers, std::uint64_t pushes,
                                     v1::OptimizerConfig::Kind kind = v1::OptimizerConfig::SGD) {
    v1::Policy base = NeverWait();
    base.set_seed(3);
    base.mutable_optimizer()->set_kind(kind);
    base.mutable_optimizer()->set_momentum(0.9);
    base.mutable_schedule()->set_rate(kRate);
    ModelLearner::Options options;
    options.policy = ParseStudyPolicies(policy, workers, base)->at(0).policy;
    options.model = "softmax";
    options.train = &train;
    options.test = &test;
    options.workers = workers;
    options.batch = 20;
    options.pushes = pushes;
    options.evaluations = 10;
    auto learner = ModelLearner::Make(*backend, options);
    REQUIRE(learner.ok());
    return *std::move(learner);
  }

  // Runs a simulation with it.
  SimResult Run(ModelLearner* learner, const std::string& policy, std::uint32_t workers, std::uint64_t pushes,
                const std::string& stragglers = "jitter", std::uint64_t seed = 1) {
    const WorkerSpeeds speeds(*ParseStragglers(stragglers), workers, 1, seed);
    SimOptions options;
    options.workers = workers;
    options.policy = ParseStudyPolicies(policy, workers, NeverWait())->at(0).policy;
    options.pushes = pushes;
    options.step_seconds = [&](std::uint32_t rank, std::uint64_t step) { return speeds.StepSeconds(rank, step); };
    if (ParseStragglers(stragglers)->life > 0) {
      options.life_seconds = [&](std::uint32_t rank, std::uint64_t life) { return speeds.LifeSeconds(rank, life); };
      options.lease_seconds = 3;
    }
    options.learner = learner;
    SimResult result = Simulate(options);
    REQUIRE(learner->status().ok());
    REQUIRE(result.complete);
    return result;
  }
};

std::vector<float> Weights(ModelLearner* learner) {
  return *static_cast<const std::vector<float>*>(learner->Read().get());
}

// Plain gradient descent on batches: weights -= rate * mean of their gradients.
std::vector<float> Descend(Fixture* f, const std::vector<std::vector<std::uint64_t>>& batches) {
  const auto model = *MakeModel(ModelSpecFor("softmax", f->train));
  const std::uint64_t elements = model->manifest().elements();
  REQUIRE(model->Prepare(*f->backend, 1000).ok());
  const auto stream = *f->backend->NewStream();
  const DeviceMemory weights = *f->backend->Allocate(elements * sizeof(float));
  const DeviceMemory gradients = *f->backend->Allocate(elements * sizeof(float));
  std::vector<float> host(elements), gradient(elements);
  FillInitialValues(3, model->manifest(), 0, absl::MakeSpan(host));
  for (const auto& records : batches) {
    std::vector<float> features(records.size() * f->train.features_per_record());
    std::vector<std::int32_t> labels(records.size());
    f->train.Gather(records, features.data(), labels.data());
    const DeviceMemory inputs = *f->backend->Allocate(features.size() * sizeof(float));
    const DeviceMemory classes = *f->backend->Allocate(labels.size() * sizeof(std::int32_t));
    f->backend->CopyToDevice(*stream, weights.floats(), host.data(), elements * sizeof(float));
    f->backend->CopyToDevice(*stream, inputs.floats(), features.data(), features.size() * sizeof(float));
    f->backend->CopyToDevice(*stream, classes.floats(), labels.data(), labels.size() * sizeof(std::int32_t));
    StepResult result;
    REQUIRE(model
                ->Step(*stream, weights.floats(), gradients.floats(),
                       {inputs.floats(), classes.as<std::int32_t>(), static_cast<std::int64_t>(records.size())}, {}, {},
                       &result)
                .ok());
    f->backend->CopyToHost(*stream, gradient.data(), gradients.floats(), elements * sizeof(float));
    REQUIRE(stream->Synchronize().ok());
    for (std::size_t i = 0; i < elements; ++i) host[i] -= static_cast<float>(kRate) * gradient[i];
  }
  return host;
}

void CheckClose(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  float worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  CHECK(worst < 1e-5f);
}

TEST_CASE("one worker is plain gradient descent on the leased records in their order") {
  Fixture f;
  const auto learner = f.Make("bound:-1", 1, 45);
  f.Run(learner.get(), "bound:-1", 1, 45);
  std::vector<std::vector<std::uint64_t>> batches;
  LeasedBatchSource source(kRecords, 20, 3);
  for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
    v1::DataRange range;
    range.set_epoch(epoch);
    range.set_end(kRecords);
    REQUIRE(source.Add(range).ok());
  }
  for (int step = 0; step < 45; ++step) batches.push_back(source.Next()->records);
  CheckClose(Weights(learner.get()), Descend(&f, batches));
}

TEST_CASE("a round is one step on all its batches, whatever the speeds") {
  Fixture f;
  std::vector<std::vector<std::uint64_t>> batches(30);
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    const auto source = *StaticBatchSource::Make({kRecords, rank, 4, 20, 3, 8});
    for (std::size_t round = 0; round < batches.size(); ++round) {
      const auto records = source.At(round).records;
      batches[round].insert(batches[round].end(), records.begin(), records.end());
    }
  }
  const auto jitter = f.Make("round", 4, 120), mixed = f.Make("round", 4, 120);
  f.Run(jitter.get(), "round", 4, 120);
  f.Run(mixed.get(), "round", 4, 120, "mixed", 5);
  CheckClose(Weights(jitter.get()), Descend(&f, batches));
  CHECK(Weights(jitter.get()) == Weights(mixed.get()));  // bit for bit
}

TEST_CASE("a gradient is of the weights that its worker had read") {
  Fixture f;
  const auto learner = f.Make("bound:-1", 2, 10);
  // Both read the first weights, so the two gradients are of these, whichever is applied first.
  const Learner::Weights first = learner->Read();
  CHECK(learner->Begin(0, 0, first) == 20);
  CHECK(learner->Begin(1, 0, learner->Read()) == 20);
  CHECK(learner->Read() == first);  // shared
  learner->Apply(1, 0, 0, {});
  CHECK(learner->Read() != first);
  learner->Apply(2, 1, 0, {});
  const auto other = f.Make("bound:-1", 2, 10);
  other->Begin(0, 0, other->Read());
  other->Begin(1, 0, other->Read());
  other->Apply(1, 1, 0, {});
  other->Apply(2, 0, 0, {});
  CheckClose(Weights(learner.get()), Weights(other.get()));
  // Without delay the second gradient would be another one.
  const auto fresh = f.Make("bound:-1", 2, 10);
  fresh->Begin(0, 0, fresh->Read());
  fresh->Apply(1, 0, 0, {});
  fresh->Begin(1, 0, fresh->Read());
  fresh->Apply(2, 1, 0, {});
  const std::vector<float> a = Weights(learner.get()), b = Weights(fresh.get());
  float differs = 0;
  for (std::size_t i = 0; i < a.size(); ++i) differs = std::max(differs, std::abs(a[i] - b[i]));
  CHECK(differs > 1e-4f);
}

TEST_CASE("dc corrects a gradient by what the weights have moved since its worker had read them") {
  Fixture f;
  const auto learner = f.Make("dc:0.5", 2, 10), plain = f.Make("bound:-1", 2, 10);
  const std::vector<float> read = Weights(learner.get());
  for (ModelLearner* each : {learner.get(), plain.get()}) {
    each->Begin(0, 0, each->Read());
    each->Begin(1, 0, each->Read());
    each->Apply(1, 0, 0, {});
  }
  const std::vector<float> moved = Weights(learner.get());
  CHECK(moved == Weights(plain.get()));  // the first one has no delay
  learner->Apply(2, 1, 0, {});
  plain->Apply(2, 1, 0, {});
  const std::vector<float> a = Weights(learner.get()), b = Weights(plain.get());
  float furthest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const float gradient = (moved[i] - b[i]) / static_cast<float>(kRate);
    const float correction = 0.5f * gradient * gradient * (moved[i] - read[i]);
    REQUIRE(a[i] == Approx(b[i] - static_cast<float>(kRate) * correction).margin(1e-6));
    furthest = std::max(furthest, std::abs(a[i] - b[i]));
  }
  CHECK(furthest > 1e-5f);
}

TEST_CASE("a ticket's scale is the step's, and what is refused comes again") {
  Fixture f;
  const auto learner = f.Make("scale", 1, 10);
  const std::vector<float> start = Weights(learner.get());
  v1::Ticket half;
  half.set_serial(1);
  half.set_rate_scale(0.5);
  learner->Begin(0, 0, learner->Read());
  learner->Refuse(0, 0);
  CHECK(Weights(learner.get()) == start);
  learner->Begin(0, 1, learner->Read());  // the same records
  learner->Apply(1, 0, 1, half);
  const auto whole = f.Make("scale", 1, 10);
  whole->Begin(0, 0, whole->Read());
  whole->Apply(1, 0, 0, {});
  const std::vector<float> a = Weights(learner.get()), b = Weights(whole.get());
  for (std::size_t i = 0; i < start.size(); ++i) REQUIRE(2 * (a[i] - start[i]) == Approx(b[i] - start[i]).margin(1e-6));
}

TEST_CASE("it learns, evaluates evenly, and the same run gives the same weights") {
  Fixture f;
  for (const std::string policy : {"bound:-1", "round:3", "max_delay:6+scale", "dc"}) {
    CAPTURE(policy);
    std::vector<float> before;
    for (int repeat = 0; repeat < 2; ++repeat) {
      const auto learner = f.Make(policy, 4, 400, v1::OptimizerConfig::MOMENTUM);
      const SimResult result = f.Run(learner.get(), policy, 4, 400, "mixed,deaths:40:5");
      CHECK(result.deaths > 0);
      const auto& curve = learner->evaluations();
      REQUIRE(curve.size() == 10);
      CHECK(curve.back().accuracy > 0.6);  // of ten classes
      CHECK(curve.back().loss < 0.7 * curve.front().loss);
      CHECK(curve.back().seconds == result.seconds);
      for (std::size_t i = 1; i < curve.size(); ++i) CHECK(curve[i].seconds > curve[i - 1].seconds);
      CHECK(learner->nonfinite() == 0);
      const std::vector<float> weights = Weights(learner.get());
      if (repeat == 1) CHECK(weights == before);
      before = weights;
    }
  }
}

TEST_CASE("memory: so many versions of the weights as can be held") {
  CHECK(ModelLearner::MostBytes(1000, 0, 1, 0) == 4000 * (1 + 2 + 4));
  CHECK(ModelLearner::MostBytes(1000, 2, 100, 1) == 4000 * (3 + 201 + 4));
}

}  // namespace
}  // namespace leeway
