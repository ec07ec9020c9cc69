// Would CUDA graphs help? A step's work, its copies included, is enqueued on one stream: op by op as a worker does it,
// or captured once and launched as a whole. Both must leave the same weights, to the bit.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/hash.h"
#include "common/manifest.h"
#include "common/status_macros.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/optimizers/sgd.h"
#include "tests/gpu/groups.h"
#include "tests/gpu/model_specs.h"
#include "worker/models/model.h"

namespace leeway {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// A model with its memory; what PlainLoop does, but for the wait.
class Training {
 public:
  Training(Backend& backend, const BatchOf& model)
      : backend_(backend),
        batch_(model.batch),
        model_(OrDie(MakeModel(model.spec))),
        stream_(OrDie(backend.NewStream())) {
    OrDie(model_->Prepare(backend, model.batch));
    const std::size_t bytes = elements() * sizeof(float);
    weights_ = OrDie(backend.Allocate(bytes));
    gradients_ = OrDie(backend.Allocate(bytes));
    inputs_ = OrDie(backend.Allocate(static_cast<std::size_t>(model.values()) * sizeof(float)));
    labels_ = OrDie(backend.Allocate(static_cast<std::size_t>(model.labels()) * sizeof(std::int32_t)));
    initial_ = OrDie(backend.HostTwin(weights_));
    host_inputs_ = OrDie(backend.HostTwin(inputs_));
    host_labels_ = OrDie(backend.HostTwin(labels_));
    result_ = OrDie(backend.AllocateHost(sizeof(StepResult)));
    FillInitialValues(1, model_->manifest(), 0, absl::MakeSpan(initial_.floats(), elements()));
    const auto classes = static_cast<std::uint64_t>(model.spec.classes);
    for (std::size_t i = 0; i < static_cast<std::size_t>(model.values()); ++i) {
      if (model.spec.tokens) {
        host_inputs_.as<std::int32_t>()[i] = static_cast<std::int32_t>(HashCombine(1, i) % classes);
      } else {
        host_inputs_.floats()[i] = static_cast<float>(UnitUniform(HashCombine(1, i)));
      }
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(model.labels()); ++i) {
      host_labels_.as<std::int32_t>()[i] = static_cast<std::int32_t>(HashCombine(2, i) % classes);
    }
    Restart();
  }

  CudaStream& stream() { return static_cast<CudaStream&>(*stream_); }
  double loss() const { return result_.as<StepResult>()->loss_sum; }

  void Restart() {
    backend_.CopyToDevice(*stream_, weights_.floats(), initial_.address(), weights_.bytes());
    OrDie(stream_->Synchronize());
  }
  std::vector<float> Weights() {
    std::vector<float> weights(elements());
    backend_.CopyToHost(*stream_, weights.data(), weights_.floats(), weights_.bytes());
    OrDie(stream_->Synchronize());
    return weights;
  }

  // Enqueues a whole step; its errors are the stream's.
  void Step() {
    backend_.CopyToDevice(*stream_, inputs_.floats(), host_inputs_.address(), inputs_.bytes());
    backend_.CopyToDevice(*stream_, labels_.as<std::int32_t>(), host_labels_.address(), labels_.bytes());
    const Batch batch{inputs_.floats(), labels_.as<std::int32_t>(), batch_, inputs_.as<std::int32_t>()};
    OrDie(model_->Step(*stream_, weights_.floats(), gradients_.floats(), batch, {}, {}, result_.as<StepResult>()));
    const SgdRule rule = Sgd::Rule({.rate = 0.01});
    backend_.vector_ops().Step(*stream_, rule, {elements(), gradients_.floats(), weights_.floats(), {}});
  }

 private:
  std::size_t elements() const { return model_->manifest().elements(); }

  Backend& backend_;
  const int batch_;
  const std::unique_ptr<Model> model_;
  const std::unique_ptr<Stream> stream_;
  DeviceMemory weights_, gradients_, inputs_, labels_;
  HostMemory initial_, host_inputs_, host_labels_, result_;
};

class Graph {
 public:
  // What `enqueue` enqueues on `stream`. Errors: what a capture does not allow, as CUDA names it.
  static absl::StatusOr<Graph> Capture(CudaStream& stream, const std::function<void()>& enqueue) {
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal));
    enqueue();
    Graph graph;
    const absl::Status ended = CudaStatus(cudaStreamEndCapture(stream.handle(), &graph.graph_), "cudaStreamEndCapture");
    // The op that spoiled the capture has told the stream, which forgets it here.
    RETURN_IF_ERROR(stream.Synchronize());
    RETURN_IF_ERROR(ended);
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaGraphInstantiate(&graph.executable_, graph.graph_, 0));
    LEEWAY_RETURN_IF_CUDA_ERROR(cudaGraphGetNodes(graph.graph_, nullptr, &graph.nodes_));
    return graph;
  }
  ~Graph() {
    if (executable_ != nullptr) static_cast<void>(cudaGraphExecDestroy(executable_));
    if (graph_ != nullptr) static_cast<void>(cudaGraphDestroy(graph_));
  }
  Graph(Graph&& other) noexcept
      : graph_(std::exchange(other.graph_, nullptr)),
        executable_(std::exchange(other.executable_, nullptr)),
        nodes_(other.nodes_) {}
  Graph& operator=(Graph&&) = delete;

  std::size_t nodes() const { return nodes_; }
  void Launch(CudaStream& stream) const { OrDie(cudaGraphLaunch(executable_, stream.handle())); }

 private:
  Graph() = default;

  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
  std::size_t nodes_ = 0;
};

// Seconds, medians: of a step that is waited for, of enqueueing it, and of one among many that nobody waits for.
struct Times {
  double step, enqueue, in_a_row;
};

Times Measure(CudaStream& stream, int steps, const std::function<void()>& enqueue) {
  std::vector<double> whole, enqueueing;
  for (int i = -3; i < steps; ++i) {
    const Clock::time_point start = Clock::now();
    enqueue();
    const double enqueued = SecondsSince(start);
    OrDie(stream.Synchronize());
    if (i < 0) continue;  // warm-up
    whole.push_back(SecondsSince(start));
    enqueueing.push_back(enqueued);
  }
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < steps; ++i) enqueue();
  OrDie(stream.Synchronize());
  return {Median(std::move(whole)), Median(std::move(enqueueing)), SecondsSince(start) / steps};
}

// Whether three steps of each leave the same weights.
bool SameBits(Training& training, const std::function<void()>& one, const std::function<void()>& other) {
  std::vector<float> weights[2];
  const std::function<void()>* const enqueue[2] = {&one, &other};
  for (std::size_t which = 0; which < 2; ++which) {
    training.Restart();
    for (int i = 0; i < 3; ++i) (*enqueue[which])();
    OrDie(training.stream().Synchronize());
    weights[which] = training.Weights();
  }
  return std::memcmp(weights[0].data(), weights[1].data(), weights[0].size() * sizeof(float)) == 0;
}

// What a graph's step takes of a launched one, in the row and returned; 0: it cannot be captured.
double Row(Backend& backend, const BatchOf& model, int steps) {
  Training training(backend, model);
  const auto launched = [&] { training.Step(); };
  const Times by_op = Measure(training.stream(), steps, launched);
  std::printf("%s step: %.1f us launched (enqueueing %.1f us), ", model.name().c_str(), by_op.step * 1e6,
              by_op.enqueue * 1e6);
  std::fflush(stdout);
  const absl::StatusOr<Graph> graph = Graph::Capture(training.stream(), launched);
  if (!graph.ok()) {
    static_cast<void>(cudaGetLastError());  // so that the next model does not meet it
    std::printf("cannot be captured: %s\n", graph.status().ToString().c_str());
    return 0;
  }
  const auto as_graph = [&] { graph->Launch(training.stream()); };
  const Times whole = Measure(training.stream(), steps, as_graph);
  const bool same_bits = SameBits(training, launched, as_graph);
  std::printf("%.1f us as a graph (enqueueing %.1f us); in a row %.1f and %.1f us; %d nodes, loss %.4f, %s\n",
              whole.step * 1e6, whole.enqueue * 1e6, by_op.in_a_row * 1e6, whole.in_a_row * 1e6,
              static_cast<int>(graph->nodes()), training.loss() / static_cast<double>(model.labels()),
              same_bits ? "the same bits" : "OTHER BITS");
  std::fflush(stdout);
  return whole.step / by_op.step;
}

}  // namespace

std::string BenchmarkGraphs(Benchmark& bench) {
  struct Case {
    BatchOf model;
    int steps;
  };
  std::vector<Case> cases = {
      {ImageBatch("mlp:1024,1024", 512), 200},
      {ImageBatch("cnn", 128), 200},
      {GptBatch("gpt:1m,context=256", 32, 256, 256), 60},
      {GptBatch("gpt:10m", 32, 256, 256), 60},
      {GptBatch("gpt:124m", 32, 1024, 50257), 16},
  };
  if (bench.tiny()) cases.pop_back();
  std::string shares;
  for (const Case& each : cases) {
    const double share = Row(bench.backend(), each.model, bench.tiny() ? 3 : each.steps);
    absl::StrAppend(&shares, " ", share > 0 ? absl::StrFormat("%.2f", share) : "-");
  }
  return absl::StrCat("graphs take", shares, " of the steps' time");
}

}  // namespace leeway
