#include <algorithm>

#include "absl/strings/str_format.h"
#include "kernels/optimizers/adam.h"
#include "kernels/optimizers/ftrl.h"
#include "kernels/optimizers/sgd.h"
#include "tests/gpu/groups.h"

namespace leeway {
namespace {

constexpr DataType kF32 = DataType::kF32, kBf16 = DataType::kBf16;

double Vectors(Benchmark& bench) {
  const std::int64_t count = bench.Scaled(64 << 20);
  const auto n = static_cast<std::size_t>(count);
  const auto bytes = static_cast<double>(count) * 4;
  const auto a = bench.Random(count, kF32), b = bench.Random(count, kF32);
  const DeviceMemory norm = bench.Memory(sizeof(double));
  return std::min({
      bench.MemoryRow(
          "axpy", 3 * bytes,
          [&](std::size_t set) { bench.ops().Axpy(bench.stream(), n, 0.5f, a[set].floats(), b[set].floats()); }),
      bench.MemoryRow(
          "squared norm", bytes,
          [&](std::size_t set) { bench.ops().SquaredNorm(bench.stream(), n, a[set].floats(), norm.as<double>()); }),
      bench.MemoryRow("cast to bf16", 1.5 * bytes,
                      [&](std::size_t set) {
                        bench.transformer().Cast(bench.stream(), n, {a[set].as<void>(), kF32}, Half(b[set]));
                      }),
  });
}

// Of 124 M parameters, as gpt:124m: no cache holds them.
double OptimizerSteps(Benchmark& bench) {
  const std::int64_t count = bench.Scaled(124 << 20);
  const auto n = static_cast<std::size_t>(count);
  const auto bytes = static_cast<double>(count) * 4;
  const std::vector<DeviceMemory> arrays = bench.Random(count, kF32);
  const auto at = [&](std::size_t i) { return arrays[i].floats(); };
  const StepArgs args{.rate = 1e-4, .weight_decay = 0.1, .step = 5};
  const AdamRule adam = Adam({0.9, 0.999, 1e-8}).Rule(args);
  const FtrlRule ftrl = Ftrl({1, 1e-4, 0}).Rule(args);
  return std::min({
      bench.MemoryRow("sgd step", 3 * bytes,
                      [&](std::size_t) {
                        bench.vector_ops().Step(bench.stream(), Sgd::Rule(args), {n, at(0), at(1), {}});
                      }),
      bench.MemoryRow("adam step", 7 * bytes,
                      [&](std::size_t) {
                        bench.vector_ops().Step(bench.stream(), adam, {n, at(0), at(1), {at(2), at(3)}});
                      }),
      bench.MemoryRow("ftrl step", 7 * bytes,
                      [&](std::size_t) {
                        bench.vector_ops().Step(bench.stream(), ftrl, {n, at(0), at(1), {at(2), at(3)}});
                      }),
  });
}

double LayerNorms(Benchmark& bench) {
  const NormShape shape{bench.Scaled(64 * 1024), 768};
  const std::int64_t count = shape.rows * shape.width;
  const auto bytes = static_cast<double>(count) * 2;
  const auto x = bench.Random(count, kBf16), branch = bench.Random(count, kBf16);
  const auto y = bench.Random(count, kBf16), sum = bench.Random(count, kBf16);
  const auto gain = bench.Random(shape.width, kF32);
  const auto mean = bench.Random(shape.rows, kF32, 1), rstd = bench.Random(shape.rows, kF32, 1);
  return std::min({
      bench.MemoryRow("layer norm, bf16 x 768", 2 * bytes,
                      [&](std::size_t set) {
                        bench.transformer().LayerNormForward(bench.stream(), shape, Half(x[set]), gain[0].floats(),
                                                             gain[1].floats(), Half(y[set]), mean[0].floats(),
                                                             rstd[0].floats());
                      }),
      bench.MemoryRow("add and layer norm", 4 * bytes,
                      [&](std::size_t set) {
                        bench.transformer().AddLayerNormForward(bench.stream(), shape, Half(x[set]), Half(branch[set]),
                                                                Half(sum[set]), gain[0].floats(), gain[1].floats(),
                                                                Half(y[set]), mean[0].floats(), rstd[0].floats());
                      }),
      bench.MemoryRow("layer norm backward, adding to dx", 4 * bytes,
                      [&](std::size_t set) {
                        bench.transformer().LayerNormBackward(bench.stream(), shape, Half(x[set]), gain[0].floats(),
                                                              mean[0].floats(), rstd[0].floats(), Half(branch[set]),
                                                              Half(sum[set]), Write::kAdd, gain[2].floats(),
                                                              gain[3].floats(), Write::kOverwrite);
                      }),
  });
}

double CrossEntropy(Benchmark& bench) {
  const LogitsShape shape{bench.Scaled(8192), 50257, 50304};
  const auto logits = bench.Random(shape.rows * shape.columns, kBf16);
  const DeviceMemory labels = bench.Memory(static_cast<std::size_t>(shape.rows) * sizeof(std::int32_t));
  const DeviceMemory loss = bench.Memory(sizeof(LossSum));
  return bench.MemoryRow("softmax cross-entropy, bf16 x 50304", static_cast<double>(shape.rows * shape.columns) * 4,
                         [&](std::size_t set) {
                           bench.transformer().SoftmaxCrossEntropy(bench.stream(), shape, Half(logits[set]),
                                                                   labels.as<const std::int32_t>(), 1e-3f,
                                                                   Half(logits[set]), loss.as<LossSum>());
                         });
}

}  // namespace

std::string BenchmarkMemory(Benchmark& bench) {
  const double worst = std::min({Vectors(bench), OptimizerSteps(bench), LayerNorms(bench), CrossEntropy(bench)});
  return absl::StrFormat("memory-bound ops at least %.2f of copy", worst);
}

}  // namespace leeway
