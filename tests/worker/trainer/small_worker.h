// A softmax model on a small made-up data set, on the test device: what the tests of sessions compute with.
#pragma once

#include <memory>
#include <vector>

#include "common/hash.h"
#include "kernels/device.h"
#include "tests/support/test_device.h"
#include "worker/data/dataset.h"
#include "worker/models/registry.h"
#include "worker/trainer/engine.h"

namespace leeway {

// `records` points around one of three centres; the label says which.
inline Dataset SmallData(std::uint64_t records) {
  constexpr std::uint32_t kWidth = 6, kClasses = 3;
  std::vector<float> features;
  std::vector<std::int32_t> labels;
  for (std::uint64_t i = 0; i < records; ++i) {
    const auto label = static_cast<std::int32_t>(i % kClasses);
    labels.push_back(label);
    for (std::uint32_t f = 0; f < kWidth; ++f) {
      const double noise = UnitUniform(HashCombine(i, f)) - 0.5;
      features.push_back(static_cast<float>((f % kClasses == i % kClasses ? 2.0 : 0.0) + noise));
    }
  }
  return Dataset::FromFloats("small", {1, 1, kWidth}, kClasses, std::move(features), std::move(labels)).value();
}

struct SmallWorker {
  // `gradients`: kHalves has weights of bfloat16 too.
  SmallWorker(std::uint64_t records, int batch, int slots, Engine::Gradients gradients = Engine::Gradients::kFloats)
      : data(SmallData(records)) {
    ModelSpec spec;
    spec.name = "softmax";
    spec.width = data.shape().width;
    spec.classes = data.num_classes();
    model = MakeModel(spec).value();
    backend = MakeBackend(TestDevice(), 1).value();
    Engine::Options options;
    options.batch = batch;
    options.weights_slots = slots;
    options.gradient_slots = slots;
    options.features = data.features_per_record();
    options.half_weights = gradients == Engine::Gradients::kHalves;
    options.gradients = gradients;
    engine = Engine::Make(*backend, *model, options).value();
  }
  const Manifest& manifest() const { return model->manifest(); }

  Dataset data;
  std::unique_ptr<Model> model;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Engine> engine;  // last: it uses the others
};

}  // namespace leeway
