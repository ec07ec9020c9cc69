#include "cli/study/model_learner.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/buffer.h"
#include "common/status_macros.h"
#include "kernels/add_scaled.h"
#include "kernels/finite.h"
#include "kernels/schedule.h"
#include "server/delay_policy.h"
#include "worker/data_for_model.h"
#include "worker/models/registry.h"

namespace leeway {
namespace {

constexpr int kTestBatch = 200;

const float* FloatsOf(const Learner::Weights& weights) {
  return static_cast<const std::vector<float>*>(weights.get())->data();
}

std::uint64_t CeilDiv(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0); }

}  // namespace

absl::StatusOr<std::unique_ptr<ModelLearner>> ModelLearner::Make(Backend& backend, const Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Model> model, MakeModel(ModelSpecFor(options.model, *options.train)));
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(model->manifest().elements(), 1));
  std::unique_ptr<ModelLearner> learner(new ModelLearner(backend, options, std::move(model), placement));
  RETURN_IF_ERROR(learner->Prepare());
  RETURN_IF_ERROR(learner->PrepareData());
  return learner;
}

std::uint64_t ModelLearner::MostBytes(std::uint64_t elements, int slots, std::uint32_t workers, int depth) {
  // Every worker may hold other weights for each step that it has begun or prefetched, and one version is the newest;
  // with a gradient, a sum, and a copy of each for the backend.
  const std::uint64_t read = std::uint64_t{workers} * (static_cast<std::uint64_t>(depth) + 1) + 1;
  return elements * sizeof(float) * (1 + static_cast<std::uint64_t>(slots) + read + 4);
}

ModelLearner::ModelLearner(Backend& backend, const Options& options, std::unique_ptr<Model> model,
                           const Placement& placement)
    : backend_(backend),
      options_(options),
      round_(options.policy.aggregation() == v1::ROUND),
      model_(std::move(model)),
      placement_(placement),
      leases_({options.train->num_records()}) {}

absl::Status ModelLearner::Prepare() {
  const Manifest& manifest = model_->manifest();
  ASSIGN_OR_RETURN(store_, BlockStore::Make(manifest, placement_, 0, options_.policy));
  store_->FillInitialValues(options_.policy.seed(), manifest);
  const int batch = std::max(options_.batch, kTestBatch);
  RETURN_IF_ERROR(model_->Prepare(backend_, batch));
  const std::uint64_t features = static_cast<std::uint64_t>(batch) * options_.train->features_per_record();
  ASSIGN_OR_RETURN(stream_, backend_.NewStream());
  ASSIGN_OR_RETURN(weights_, backend_.Allocate(manifest.elements() * sizeof(float)));
  ASSIGN_OR_RETURN(gradients_, backend_.Allocate(manifest.elements() * sizeof(float)));
  ASSIGN_OR_RETURN(inputs_, backend_.Allocate(features * sizeof(float)));
  ASSIGN_OR_RETURN(labels_, backend_.Allocate(static_cast<std::size_t>(batch) * sizeof(std::int32_t)));
  ASSIGN_OR_RETURN(host_weights_, backend_.HostTwin(weights_));
  ASSIGN_OR_RETURN(host_gradients_, backend_.HostTwin(gradients_));
  ASSIGN_OR_RETURN(host_inputs_, backend_.HostTwin(inputs_));
  ASSIGN_OR_RETURN(host_labels_, backend_.HostTwin(labels_));
  ASSIGN_OR_RETURN(result_, backend_.AllocateHost(sizeof(StepResult)));
  sum_.resize(manifest.elements());
  return absl::OkStatus();
}

absl::Status ModelLearner::PrepareData() {
  const auto batch = static_cast<std::uint64_t>(options_.batch);
  const std::uint64_t records = options_.train->num_records();
  lives_.resize(options_.workers);
  for (std::uint32_t rank = 0; rank < options_.workers; ++rank) {
    if (!round_) {
      leased_.emplace_back(records, batch, options_.policy.seed());
      continue;
    }
    // All ranks make as many steps per epoch as the one with most records.
    const std::uint64_t rounds = CeilDiv(CeilDiv(records, options_.workers), batch);
    ASSIGN_OR_RETURN(const StaticBatchSource source,
                     StaticBatchSource::Make({records, rank, options_.workers, batch, options_.policy.seed(), rounds}));
    static_.push_back(source);
  }
  return absl::OkStatus();
}

Learner::Weights ModelLearner::Read() {
  if (snapshot_ != nullptr) return snapshot_;
  const auto copy = std::make_shared<std::vector<float>>();
  copy->reserve(placement_.elements());
  for (std::uint32_t chunk = 0; chunk < placement_.ShardChunks(0); ++chunk) {
    const ChunkRun run = placement_.Chunk(0, chunk);
    const float* weights = store_->Weights(run);
    copy->insert(copy->end(), weights, weights + placement_.RunElements(run));
  }
  return snapshot_ = copy;
}

std::uint32_t ModelLearner::Begin(std::uint32_t rank, std::uint64_t clock, Weights weights) {
  Job& job = jobs_[{rank, clock}];
  job.weights = std::move(weights);
  if (round_) {
    job.batch = static_[rank].At(clock);
  } else {
    // Epochs never end here, so there are always records.
    while (const std::uint64_t missing = leased_[rank].missing()) {
      const std::optional<v1::DataRange> range = leases_.Acquire(HolderOf(rank), missing);
      if (!range || !leased_[rank].Add(*range).ok()) break;
    }
    job.batch = leased_[rank].Next().value_or(RecordBatch());
  }
  return static_cast<std::uint32_t>(job.batch.records.size());
}

ModelLearner::Job ModelLearner::TakeJob(std::uint32_t rank, std::uint64_t clock) {
  auto found = jobs_.extract({rank, clock});
  return found.empty() ? Job() : std::move(found.mapped());
}

void ModelLearner::Commit(std::uint32_t rank, const RecordBatch& batch, bool applied) {
  for (const v1::DataRange& range : batch.ranges) leases_.Commit(HolderOf(rank), range, applied);
}

void ModelLearner::Apply(double now, std::uint32_t rank, std::uint64_t clock, const v1::Ticket& ticket) {
  const Job job = TakeJob(rank, clock);
  const bool good = Gradient(job);
  Commit(rank, job.batch, good);
  const std::uint64_t samples = job.batch.records.size();
  if (good) {
    // As Shard::RateFor: all workers have the same batch, and a push weighs by its samples.
    const bool ticketed = ticket.serial() != 0;
    const double rate = RateAt(options_.policy.schedule(), ticketed ? ticket.samples_before() : samples_) *
                        static_cast<double>(samples) / options_.batch * (ticketed ? ticket.rate_scale() : 1);
    Step(host_gradients_.floats(), rate, job.weights);
  }
  Count(now, 1, good ? samples : 0);
}

void ModelLearner::Refuse(std::uint32_t rank, std::uint64_t clock) { Commit(rank, TakeJob(rank, clock).batch, false); }

void ModelLearner::Hold(std::uint32_t rank, std::uint64_t clock) { held_[rank] = TakeJob(rank, clock); }

void ModelLearner::Close(double now, const v1::RoundClose& close) {
  // As BlockStore::ApplySum: the same sum in the same order. (A gradient that is not finite is left out of the sum, but
  // stays in the divisor; in the cluster it is in neither.)
  std::fill(sum_.begin(), sum_.end(), 0.0f);
  for (const std::uint32_t rank : close.ranks()) {
    const Job& job = held_[rank];
    if (!Gradient(job)) continue;
    const double share = static_cast<double>(job.batch.records.size()) / static_cast<double>(close.samples());
    AddScaled(static_cast<float>(share), host_gradients_.floats(), sum_.size(), sum_.data());
  }
  if (close.samples() > 0) Step(sum_.data(), RateAt(options_.policy.schedule(), samples_), nullptr);
  held_.clear();
  Count(now, static_cast<std::uint64_t>(close.ranks_size()), close.samples());
}

void ModelLearner::Leave(std::uint32_t rank) {
  jobs_.erase(jobs_.lower_bound({rank, 0}), jobs_.lower_bound({rank + 1, 0}));
  if (round_) return;
  leases_.GiveBackAll(HolderOf(rank));
  leased_[rank].TakeRemaining();
  ++lives_[rank];
}

void ModelLearner::LoadWeights(const Weights& weights) {
  std::memcpy(host_weights_.address(), FloatsOf(weights), weights_.bytes());
  backend_.CopyToDevice(*stream_, weights_.floats(), host_weights_.address(), weights_.bytes());
}

Batch ModelLearner::LoadBatch(const Dataset& data, const std::vector<std::uint64_t>& records) {
  data.Gather(records, host_inputs_.floats(), host_labels_.as<std::int32_t>());
  backend_.CopyToDevice(*stream_, inputs_.floats(), host_inputs_.address(), inputs_.bytes());
  backend_.CopyToDevice(*stream_, labels_.as<std::int32_t>(), host_labels_.address(), labels_.bytes());
  return {inputs_.floats(), labels_.as<std::int32_t>(), static_cast<std::int64_t>(records.size())};
}

bool ModelLearner::Gradient(const Job& job) {
  if (!status_.ok() || job.batch.records.empty()) return false;
  LoadWeights(job.weights);
  const Batch batch = LoadBatch(*options_.train, job.batch.records);
  status_ = model_->Step(*stream_, weights_.floats(), gradients_.floats(), batch, {}, {}, result_.as<StepResult>());
  backend_.CopyToHost(*stream_, host_gradients_.floats(), gradients_.floats(), gradients_.bytes());
  status_.Update(stream_->Synchronize());
  if (!status_.ok()) return false;
  if (FirstNonFinite(host_gradients_.floats(), sum_.size()) == sum_.size()) return true;
  ++nonfinite_;
  return false;
}

void ModelLearner::Step(const float* gradient, double rate, const Weights& read) {
  const Buffer bytes = Buffer::Wrap(nullptr, gradient, placement_.elements() * sizeof(float));
  std::size_t at = 0;
  for (std::uint32_t chunk = 0; chunk < placement_.ShardChunks(0); ++chunk) {
    const ChunkRun run = placement_.Chunk(0, chunk);
    const std::size_t size = placement_.RunElements(run) * sizeof(float);
    if (CorrectsDelay(options_.policy)) {
      const BlockStore::Base base{run, v1::F32, Buffer::Wrap(read, FloatsOf(read), bytes.size()).Sub(at, size)};
      store_->ApplyCorrected(run, v1::F32, bytes.Sub(at, size), {&base, 1}, options_.policy.dc_lambda(), rate, false);
    } else {
      store_->Apply(run, v1::F32, bytes.Sub(at, size), rate);
    }
    at += size;
  }
  snapshot_ = nullptr;
}

void ModelLearner::Count(double now, std::uint64_t pushes, std::uint64_t samples) {
  samples_ += samples;
  pushes_ += pushes;
  const std::uint64_t due = options_.evaluations * std::min(pushes_, options_.pushes) / options_.pushes;
  if (due <= evaluated_ || !status_.ok()) return;
  evaluated_ = due;  // a round may be worth several
  status_ = Evaluate(now);
}

absl::Status ModelLearner::Evaluate(double now) {
  LoadWeights(Read());
  const std::uint64_t records = std::min(options_.test->num_records(), kTestRecords);
  Evaluation evaluation{now, samples_};
  for (std::uint64_t first = 0; first < records; first += kTestBatch) {
    std::vector<std::uint64_t> indices(std::min<std::uint64_t>(kTestBatch, records - first));
    std::iota(indices.begin(), indices.end(), first);
    const Batch batch = LoadBatch(*options_.test, indices);
    RETURN_IF_ERROR(model_->Evaluate(*stream_, weights_.floats(), batch, result_.as<StepResult>()));
    RETURN_IF_ERROR(stream_->Synchronize());
    evaluation.loss += result_.as<StepResult>()->loss_sum;
    evaluation.accuracy += static_cast<double>(result_.as<StepResult>()->correct);
  }
  evaluation.loss /= static_cast<double>(records);
  evaluation.accuracy /= static_cast<double>(records);
  evaluations_.push_back(evaluation);
  return absl::OkStatus();
}

}  // namespace leeway
