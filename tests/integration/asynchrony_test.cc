// A push starts before backward has ended: the first chunk is applied by a real ps while the first layer's
// gradient is still being computed.
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "common/mutex.h"
#include "tests/catch.h"
#include "tests/integration/local_trainer.h"
#include "worker/models/linear.h"
#include "worker/models/sequential.h"

namespace leeway {
namespace {

constexpr std::uint64_t kSteps = 2;

// How many chunks have been pushed and acknowledged.
class Acknowledged {
 public:
  void Add() {
    MutexLock lock(mu_);
    ++count_;
    changed_.NotifyAll();
  }
  int count() {
    MutexLock lock(mu_);
    return count_;
  }
  // False: it was not `count` within a minute.
  bool WaitFor(int count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    MutexLock lock(mu_);
    while (count_ < count) {
      if (!changed_.WaitUntil(mu_, deadline)) return count_ >= count;
    }
    return true;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  int count_ LEEWAY_GUARDED_BY(mu_) = 0;
};

class RecordingTransport final : public Transport {
 public:
  explicit RecordingTransport(Acknowledged& pushes) : pushes_(pushes), transport_(MakeGrpcTransport()) {}
  void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
            ReplyCallback done) override {
    const bool push = method == "ParameterServer/Push";
    transport_->Call(address, method, std::move(request), timeout,
                     [this, push, done = std::move(done)](absl::Status status, Buffer reply) {
                       if (push && status.ok()) pushes_.Add();
                       done(std::move(status), std::move(reply));
                     });
  }

 private:
  Acknowledged& pushes_;
  const std::unique_ptr<Transport> transport_;
};

// Does what `inner` does, but only after `before_backward`.
class SlowedLayer final : public Layer {
 public:
  SlowedLayer(std::unique_ptr<Layer> inner, std::function<void()> before_backward)
      : inner_(std::move(inner)), before_backward_(std::move(before_backward)) {}
  Shape output() const override { return inner_->output(); }
  std::vector<v1::TensorSpec> tensors() const override { return inner_->tensors(); }
  absl::Status Prepare(Backend& backend, std::int64_t max_batch) override {
    return inner_->Prepare(backend, max_batch);
  }
  void Forward(const ForwardArgs& args) override { inner_->Forward(args); }
  void Backward(const BackwardArgs& args) override {
    before_backward_();
    inner_->Backward(args);
  }

 private:
  const std::unique_ptr<Layer> inner_;
  const std::function<void()> before_backward_;
};

// Two layers; the second one's gradient has a whole chunk of its own at the vector's end.
std::unique_ptr<Model> SlowedModel(std::function<void()> before_first_layers_backward) {
  Sequential::Builder builder("slowed", {28, 28, 1});
  builder.Add("fc1", std::make_unique<SlowedLayer>(MakeLinear(builder.shape(), 1024, Activation::kRelu),
                                                   std::move(before_first_layers_backward)));
  builder.Add("fc2", MakeLinear(builder.shape(), 2048, Activation::kRelu));
  builder.Add("fc3", MakeLinear(builder.shape(), 10, Activation::kNone));
  return builder.Build().value();
}

// The acknowledged chunks of all steps; `before_backward` runs before the first layer's backward of each.
int Train(v1::PushAtomicity atomicity, const std::function<void(Acknowledged&)>& before_backward) {
  Acknowledged pushes;
  RecordingTransport transport(pushes);
  const std::unique_ptr<Model> model = SlowedModel([&] { before_backward(pushes); });
  const std::unique_ptr<PsNode> ps = StartPs(atomicity, kSteps);
  LocalTrainer trainer(transport, ps->address(), *model);
  CHECK(trainer.Wait().ok());
  return pushes.count();
}

TEST_CASE("The first chunk arrives before backward ends") {
  int before = 0;
  int arrived_early = 0;
  Train(v1::STREAM, [&](Acknowledged& pushes) {
    // Backward does not go on before another chunk has arrived.
    if (pushes.WaitFor(before + 1)) ++arrived_early;
    before = pushes.count();
  });
  CHECK(arrived_early >= static_cast<int>(kSteps));
}

TEST_CASE("Whole pushes wait for the end of backward") {
  int early = -1;
  const int all = Train(v1::WHOLE, [&](Acknowledged& pushes) {
    if (early < 0) early = pushes.count();
  });
  CHECK(early == 0);
  CHECK(all >= 2 * static_cast<int>(kSteps));
}

}  // namespace
}  // namespace leeway
