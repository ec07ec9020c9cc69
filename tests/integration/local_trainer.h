// LocalTrainer: a real `ps` and what a worker is made of, in one process, over real sockets.
//
// Thread safety: one thread, apart from Cancel().
// Ownership: the model is the caller's; the destructor ends the trainer and the ps.
#pragma once

#include <memory>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/executor.h"
#include "common/grpc_transport.h"
#include "kernels/device.h"
#include "server/ps_node.h"
#include "worker/client/caller.h"
#include "worker/client/cancellation.h"
#include "worker/data/synthetic.h"
#include "worker/models/model.h"
#include "worker/trainer/engine.h"
#include "worker/trainer/trainer.h"

namespace leeway {

// A shard 0 on a free port that lets one worker train for `steps` steps (0: without end).
inline std::unique_ptr<PsNode> StartPs(v1::PushAtomicity atomicity, std::uint64_t steps) {
  PsNode::Options options;
  v1::Policy& policy = options.policy;
  policy.set_number(1);
  policy.set_staleness_bound(-1);
  policy.set_push_atomicity(atomicity);
  policy.set_max_delay(-1);
  policy.set_num_workers(1);
  policy.set_seed(1);
  policy.set_data_sharing(v1::LEASED);
  policy.mutable_schedule()->set_rate(0.01);
  policy.mutable_stop()->set_steps(steps);
  return PsNode::Start(options).value();
}

class LocalTrainer {
 public:
  static constexpr int kBatch = 20;

  // Calls go through `transport`, which outlives this object. `model` is for 28 x 28 images of 10 classes.
  LocalTrainer(Transport& transport, const std::string& coordinator, Model& model,
               std::uint32_t protocol_version = kProtocolVersion)
      : data_(MakeSynthetic(400, 1, Split::kTrain).value()),
        backend_(MakeBackend("cpu", 1).value()),
        executor_(MakeThreadPool(2)),
        clock_(MakeSystemClock()),
        caller_(transport, *clock_, *executor_, coordinator, absl::Minutes(1), 1) {
    Engine::Options options;
    options.batch = kBatch;
    options.weights_slots = options.gradient_slots = 2;
    options.features = data_.features_per_record();
    engine_ = Engine::Make(*backend_, model, options).value();
    thread_ = std::thread([this, &model, protocol_version] {
      TrainerOptions trainer;
      trainer.identity.name = "local";
      trainer.identity.protocol_version = protocol_version;
      trainer.samples_per_step = kBatch;
      status_ = RunTrainer(caller_, *engine_, model.manifest(), data_, trainer, cancellation_);
    });
  }
  ~LocalTrainer() {
    Cancel();
    if (thread_.joinable()) thread_.join();
    caller_.Stop();
    clock_.reset();
    executor_.reset();
  }

  void Cancel() { cancellation_.Cancel(); }
  // How training ended.
  absl::Status Wait() {
    thread_.join();
    return status_;
  }

  const Dataset& data() const { return data_; }

 private:
  Dataset data_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Clock> clock_;
  Caller caller_;
  Cancellation cancellation_;
  absl::Status status_;
  std::thread thread_;
};

}  // namespace leeway
