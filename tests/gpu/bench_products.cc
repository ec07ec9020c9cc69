// A proposal's time is the median over rounds in which all proposals follow each other, without a wait between them: so
// each meets the same clock rate and the same temperature, and none has the host's launch in its time.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "kernels/cuda/cuda_status.h"
#include "kernels/cuda/linear.h"
#include "tests/gpu/gemm_proposals.h"
#include "tests/gpu/groups.h"

namespace leeway {
namespace {

constexpr int kProposals = 8;
constexpr double kNone = std::numeric_limits<double>::infinity();

struct Product {
  const char* name;
  int per_step;  // how often a step of gpt:124m runs it; 0: never
  Gemm gemm;
};

// Operands that all products share. Each writes what no other reads, but for logits and aux, which forward writes and
// backward reads.
struct Operands {
  Operands(Benchmark& bench, std::int64_t rows)
      : x(One(bench, rows * 3072, DataType::kBf16)),
        dy(One(bench, rows * 3072, DataType::kBf16)),
        out(One(bench, rows * 3072, DataType::kBf16)),
        aux(One(bench, rows * 3072, DataType::kBf16)),
        logits(One(bench, rows * 50304, DataType::kBf16)),
        weights(One(bench, 768 * 50304, DataType::kBf16)),
        bias(One(bench, 3072, DataType::kBf16)),
        gradient(One(bench, 768 * 50304, DataType::kF32)) {}

  static DeviceMemory One(Benchmark& bench, std::int64_t count, DataType type) {
    return std::move(bench.Random(count, type, 1)[0]);
  }

  DeviceMemory x, dy, out, aux, logits, weights, bias, gradient;
};

// What Gpt multiplies in a step (worker/models/gpt/gpt.cc), with the epilogues of CudaTransformerOps.
std::vector<Product> StepProducts(const Operands& at, std::int64_t rows) {
  constexpr int kLayers = 12;
  const LinearShape qkv{rows, 768, 2304}, out{rows, 768, 768}, up{rows, 768, 3072}, down{rows, 3072, 768};
  const LinearShape head{rows, 768, 50304};
  const auto forward = [&](const LinearShape& shape) {
    return LinearForwardGemm(shape, CUDA_R_16BF, at.x.address(), at.weights.address(), at.bias.address(),
                             at.out.address());
  };
  const auto data = [&](const LinearShape& shape) {
    return LinearBackwardDataGemm(shape, CUDA_R_16BF, at.dy.address(), at.weights.address(), at.out.address());
  };
  const auto weights = [&](const LinearShape& shape, const DeviceMemory& dy) {
    return LinearBackwardWeightsGemm(shape, CUDA_R_16BF, at.x.address(), dy.address(), at.gradient.floats().address(),
                                     Write::kOverwrite);
  };
  const auto with_aux = [&](Gemm gemm, cublasLtEpilogue_t epilogue) {
    gemm.plan.epilogue = epilogue;
    gemm.aux = at.aux.address();
    return gemm;
  };
  return {
      {"qkv forward, bias", kLayers, forward(qkv)},
      {"attention out forward, bias", kLayers, forward(out)},
      {"up forward, bias, GELU, aux", kLayers, with_aux(forward(up), CUBLASLT_EPILOGUE_GELU_AUX_BIAS)},
      {"down forward, bias", kLayers, forward(down)},
      {"logits forward", 1,
       LinearForwardGemm(head, CUDA_R_16BF, at.x.address(), at.weights.address(), at.logits.address())},
      {"logits data", 1,
       LinearBackwardDataGemm(head, CUDA_R_16BF, at.logits.address(), at.weights.address(), at.out.address())},
      {"logits weights", 1, weights(head, at.logits)},
      {"down weights", kLayers, weights(down, at.dy)},
      {"down data, DGELU", kLayers, with_aux(data(down), CUBLASLT_EPILOGUE_DGELU)},
      {"down data without epilogue", 0, data(down)},
      {"up weights", kLayers, weights(up, at.dy)},
      {"up data", kLayers, data(up)},
      {"attention out weights", kLayers, weights(out, at.dy)},
      {"attention out data", kLayers, data(out)},
      {"qkv weights", kLayers, weights(qkv, at.dy)},
      {"qkv data", kLayers, data(qkv)},
  };
}

class Timer {
 public:
  Timer(Benchmark& bench, cublasLtHandle_t cublas)
      : bench_(bench), cublas_(cublas), workspace_(OrDie(bench.stream().Workspace())) {
    for (cudaEvent_t& event : events_) OrDie(cudaEventCreate(&event));
  }
  ~Timer() {
    for (cudaEvent_t event : events_) static_cast<void>(cudaEventDestroy(event));
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Seconds of what GemmCache chooses, then of each of the kProposals; kNone where there is none, or it does not run.
  std::vector<double> Seconds(const Gemm& gemm) {
    std::vector<std::unique_ptr<GemmCache>> caches;
    std::vector<std::size_t> running;
    for (int choice = GemmCache::kByRule; choice < kProposals; ++choice) {
      caches.push_back(std::make_unique<GemmCache>(cublas_, false, choice));
      const absl::Status status = Run(*caches.back(), gemm);
      if (choice == GemmCache::kByRule) OrDie(status);
      if (status.ok()) running.push_back(caches.size() - 1);
    }
    std::vector<std::vector<double>> times(caches.size());
    for (std::size_t round = 0; round < (bench_.tiny() ? 3 : 24); ++round) {
      // Not timed: the device is at work when the first event comes.
      OrDie(Run(*caches[0], gemm));
      Record(0);
      // Each round begins with another one, and every second goes backwards: none always comes behind the same.
      std::vector<std::size_t> order = running;
      std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(round % order.size()), order.end());
      if (round % 2 == 1) std::reverse(order.begin(), order.end());
      for (std::size_t i = 0; i < order.size(); ++i) {
        OrDie(Run(*caches[order[i]], gemm));
        Record(i + 1);
      }
      OrDie(bench_.stream().Synchronize());
      for (std::size_t i = 0; i < order.size(); ++i) {
        float milliseconds = 0;
        OrDie(cudaEventElapsedTime(&milliseconds, events_[i], events_[i + 1]));
        times[order[i]].push_back(1e-3 * static_cast<double>(milliseconds));
      }
    }
    std::vector<double> medians;
    for (std::vector<double>& each : times) medians.push_back(each.empty() ? kNone : Median(std::move(each)));
    return medians;
  }

 private:
  absl::Status Run(GemmCache& cache, const Gemm& gemm) {
    return cache.Run(bench_.stream().handle(), gemm, workspace_, CudaStream::kWorkspaceBytes);
  }
  void Record(std::size_t event) { OrDie(cudaEventRecord(events_[event], bench_.stream().handle())); }

  Benchmark& bench_;
  const cublasLtHandle_t cublas_;
  void* const workspace_;
  cudaEvent_t events_[kProposals + 2] = {};
};

void PrintRow(const Product& product, const std::vector<double>& seconds, std::size_t best) {
  const Gemm::Plan& plan = product.gemm.plan;
  const double operations =
      2.0 * static_cast<double>(plan.m) * static_cast<double>(plan.n) * static_cast<double>(plan.k);
  std::printf("%-28s x %2d %6ld %6ld %6ld %9.1f us %5.0f TFLOP/s, best (%2d) %5.0f, %5.3f of it\n", product.name,
              product.per_step, static_cast<long>(plan.m), static_cast<long>(plan.n), static_cast<long>(plan.k),
              seconds[0] * 1e6, operations / seconds[0] * 1e-12, static_cast<int>(best) - 1,
              operations / seconds[best] * 1e-12, seconds[best] / seconds[0]);
  std::string times;
  for (const double each : absl::MakeConstSpan(seconds).subspan(1)) {
    absl::StrAppend(&times, each == kNone ? "    -" : absl::StrFormat(" %.2f", each / seconds[0]));
  }
  std::printf("    the proposals, of our time:%s\n", times.c_str());
}

void PrintProposals(cublasLtHandle_t cublas, const Gemm::Plan& plan, const std::vector<double>& seconds) {
  for (int choice = 0; choice < kProposals; ++choice) {
    const auto described = DescribeProposal(cublas, plan, CudaStream::kWorkspaceBytes, choice);
    if (!described.ok()) break;
    std::printf("    (%2d) %5.3f %s\n", choice, seconds[static_cast<std::size_t>(choice) + 1] / seconds[0],
                described->c_str());
  }
}

}  // namespace

std::string BenchmarkProducts(Benchmark& bench) {
  const std::int64_t rows = bench.Scaled(32 * 1024);
  const Operands operands(bench, rows);
  cublasLtHandle_t cublas = nullptr;
  OrDie(CublasStatus(cublasLtCreate(&cublas), "cublasLtCreate"));
  double worst = 1, sum = 0, first_sum = 0, best_sum = 0;
  {
    Timer timer(bench, cublas);
    for (const Product& product : StepProducts(operands, rows)) {
      const std::vector<double> seconds = timer.Seconds(product.gemm);
      const auto best = std::min_element(seconds.begin(), seconds.end());
      PrintRow(product, seconds, static_cast<std::size_t>(best - seconds.begin()));
      if (bench.verbose()) PrintProposals(cublas, product.gemm.plan, seconds);
      std::fflush(stdout);
      if (product.per_step == 0) continue;
      worst = std::min(worst, *best / seconds[0]);
      sum += product.per_step * seconds[0];
      first_sum += product.per_step * seconds[1];
      best_sum += product.per_step * *best;
    }
  }
  cublasLtDestroy(cublas);
  std::printf("products of a step of gpt:124m: %.2f ms, %.2f ms with the first proposals, %.2f ms with the best\n",
              sum * 1e3, first_sum * 1e3, best_sum * 1e3);
  return absl::StrFormat("products at least %.2f of the best", worst);
}

}  // namespace leeway
