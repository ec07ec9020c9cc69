// ModelLearner: a real model that is trained in a simulation: its gradients on the cpu backend, the optimizer's steps
// by the block store of a `ps`, the records of its batches by the cluster's own leases (`each`) or static parts
// (rounds).
//
// A gradient is computed when it is applied, on the weights and the batch that its worker had: what is refused costs
// nothing, and beside the weights that were read only one gradient is in memory. The weights are copied once per
// version that somebody reads, and freed with their last reader: MostBytes() is the bound.
//
// Thread safety: none. Ownership: the backend and the data outlive it.
// Invariant: the same calls give the same weights, bit for bit, on one machine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/study/learner.h"
#include "common/placement.h"
#include "kernels/backend.h"
#include "proto/policy.pb.h"
#include "server/block_store.h"
#include "server/coordinator/data_leases.h"
#include "worker/data/batch_source.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"

namespace leeway {

class ModelLearner : public Learner {
 public:
  struct Options {
    v1::Policy policy;  // of it: aggregation, dc_lambda, optimizer, schedule, groups, seed
    std::string model;
    const Dataset* train = nullptr;
    const Dataset* test = nullptr;
    std::uint32_t workers = 1;
    int batch = 1;
    std::uint64_t pushes = 1;        // of the whole run
    std::uint64_t evaluations = 20;  // evenly over them
  };
  struct Evaluation {
    double seconds = 0;
    std::uint64_t samples = 0;  // trained on
    double loss = 0;            // per record of the test split, of its first kTestRecords
    double accuracy = 0;        // [0, 1]
  };
  static constexpr std::uint64_t kTestRecords = 2000;

  // INVALID_ARGUMENT: a model for other data, too few records for so many ranks (rounds). RESOURCE_EXHAUSTED: memory.
  static absl::StatusOr<std::unique_ptr<ModelLearner>> Make(Backend& backend, const Options& options);

  // Of the weights and slots, and all that can be read of them at once, for a model of so many elements.
  static std::uint64_t MostBytes(std::uint64_t elements, int slots, std::uint32_t workers, int depth);

  Weights Read() override;
  std::uint32_t Begin(std::uint32_t rank, std::uint64_t clock, Weights weights) override;
  void Apply(double now, std::uint32_t rank, std::uint64_t clock, const v1::Ticket& ticket) override;
  void Refuse(std::uint32_t rank, std::uint64_t clock) override;
  void Hold(std::uint32_t rank, std::uint64_t clock) override;
  void Close(double now, const v1::RoundClose& close) override;
  void Leave(std::uint32_t rank) override;

  const std::vector<Evaluation>& evaluations() const { return evaluations_; }
  std::uint64_t nonfinite() const { return nonfinite_; }  // gradients that held a NaN or an infinity: not applied
  // The first error of the backend; nothing was applied behind it.
  const absl::Status& status() const { return status_; }

 private:
  struct Job {
    Weights weights;
    RecordBatch batch;
  };

  ModelLearner(Backend& backend, const Options& options, std::unique_ptr<Model> model, const Placement& placement);
  absl::Status Prepare();
  absl::Status PrepareData();
  DataLeases::Holder HolderOf(std::uint32_t rank) const { return {rank, lives_[rank]}; }
  Job TakeJob(std::uint32_t rank, std::uint64_t clock);
  void Commit(std::uint32_t rank, const RecordBatch& batch, bool applied);
  void LoadWeights(const Weights& weights);
  Batch LoadBatch(const Dataset& data, const std::vector<std::uint64_t>& records);
  bool Gradient(const Job& job);  // into host_gradients_; false: it is not to be applied
  // `read`: what the gradient was computed on, for delay_policy=dc.
  void Step(const float* gradient, double rate, const Weights& read);
  void Count(double now, std::uint64_t pushes, std::uint64_t samples);
  absl::Status Evaluate(double now);

  Backend& backend_;
  const Options options_;
  const bool round_;
  const std::unique_ptr<Model> model_;
  const Placement placement_;
  std::shared_ptr<BlockStore> store_;
  std::unique_ptr<Stream> stream_;
  DeviceMemory weights_, gradients_, inputs_, labels_;
  HostMemory host_weights_, host_gradients_, host_inputs_, host_labels_, result_;

  DataLeases leases_;
  std::vector<LeasedBatchSource> leased_;                        // by rank; `each`
  std::vector<StaticBatchSource> static_;                        // by rank; rounds
  std::vector<std::uint64_t> lives_;                             // by rank: how often it has left
  std::map<std::pair<std::uint32_t, std::uint64_t>, Job> jobs_;  // by rank and clock: begun, without a verdict
  std::map<std::uint32_t, Job> held_;                            // by rank: whole in the open round

  Weights snapshot_;  // of the present version, once somebody has read it
  std::vector<float> sum_;
  std::uint64_t samples_ = 0;  // applied
  std::uint64_t pushes_ = 0;   // applied
  std::uint64_t nonfinite_ = 0;
  std::uint64_t evaluated_ = 0;  // of options_.evaluations
  std::vector<Evaluation> evaluations_;
  absl::Status status_;
};

}  // namespace leeway
