#include <chrono>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/gpu/groups.h"
#include "tests/gpu/model_specs.h"
#include "worker/models/plain_loop.h"

namespace leeway {
namespace {

// Seconds of a step of PlainLoop, the median without the first ones.
double StepSeconds(Backend& backend, const BatchOf& model, int steps) {
  constexpr int kWarmUp = 3;
  const std::unique_ptr<PlainLoop> loop = OrDie(PlainLoop::Make(backend, model.spec, model.batch, 0.01f, 1));
  std::vector<double> times;
  for (int i = 0; i < kWarmUp + steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const StepResult result = OrDie(loop->Step());
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i >= kWarmUp) times.push_back(taken.count());
    if (i % 6 == 0) std::printf("  step %d: loss %.4f\n", i, result.loss_sum / static_cast<double>(model.labels()));
  }
  return Median(std::move(times));
}

double MlpSeconds(Benchmark& bench, bool tf32, int steps) {
  const BatchOf mlp = ImageBatch("mlp:4096,4096,4096", bench.tiny() ? 64 : 4096);
  const std::unique_ptr<Backend> backend = bench.NewBackend(tf32);
  const double seconds = StepSeconds(*backend, mlp, steps);
  std::printf("%-44s %9.2f ms %8.0f samples/s\n",
              absl::StrCat(mlp.name(), " step, ", tf32 ? "TF32" : "float32").c_str(), seconds * 1e3,
              mlp.batch / seconds);
  return seconds;
}

}  // namespace

std::string BenchmarkSteps(Benchmark& bench) {
  const int steps = bench.tiny() ? 2 : 13;
  const BatchOf gpt = bench.tiny() ? GptBatch("gpt:1m", 2, 128, 256) : GptBatch("gpt:124m", 32, 1024, 50257);
  const double gpt_step = StepSeconds(bench.backend(), gpt, steps);
  std::printf("%-44s %9.2f ms %8.0f tokens/s\n", absl::StrCat(gpt.name(), " step, SGD").c_str(), gpt_step * 1e3,
              static_cast<double>(gpt.labels()) / gpt_step);

  const double float32 = MlpSeconds(bench, false, steps), tf32 = MlpSeconds(bench, true, steps);
  return absl::StrFormat("gpt step %.1f ms, mlp step %.2f ms, with TF32 %.2f ms", gpt_step * 1e3, float32 * 1e3,
                         tf32 * 1e3);
}

}  // namespace leeway
