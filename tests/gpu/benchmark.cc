// benchmark [--device=N] [--tiny] [--no_gpt | --only_gpt]: what the CUDA backend reaches, next to what the machine can
// do.
//
// - Memory-bound ops, against a device-to-device copy (bytes read and written per second). Buffers take turns, so that
//   together they are larger than the L2 cache; values are random.
// - Products of bfloat16 with the shapes of gpt:124m, against the fastest of the algorithms that cuBLASLt's heuristic
//   names, each timed here.
// - Attention, TFLOP/s over the half of the scores that is computed.
// - A step of gpt:124m (batch 32 x 1024) without a parameter server: forward, backward, SGD.
// Times are of CUDA events, medians; of steps, of the host's clock around a step that ends with a wait.
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_plugin.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/cuda/linear.h"
#include "kernels/transformer_ops.h"
#include "kernels/vector_ops.h"
#include "worker/models/plain_loop.h"

extern "C" void leeway_new_cuda_backend_1(const leeway::CudaOptions& options,
                                          absl::StatusOr<std::unique_ptr<leeway::Backend>>* backend);

namespace leeway {
namespace {

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  if (value.ok()) return std::move(value).value();
  std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
  std::exit(1);
}
void OrDie(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}
void OrDie(cudaError_t error) { OrDie(CudaStatus(error, "benchmark")); }

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

constexpr int kSets = 4;  // buffers that take turns

class Benchmark {
 public:
  Benchmark(Backend& backend, bool tiny) : backend_(backend), tiny_(tiny), stream_(OrDie(backend.NewStream())) {
    OrDie(cudaEventCreate(&start_));
    OrDie(cudaEventCreate(&stop_));
  }
  ~Benchmark() {
    cudaEventDestroy(start_);
    cudaEventDestroy(stop_);
  }

  CudaStream& stream() { return static_cast<CudaStream&>(*stream_); }
  TransformerOps& transformer() { return backend_.transformer_ops(); }
  Ops& ops() { return backend_.ops(); }
  Backend& backend() { return backend_; }
  std::int64_t Scaled(std::int64_t size) const { return tiny_ ? std::max<std::int64_t>(size / 64, 1) : size; }

  // Seconds of `call(set)`: the median over calls that were timed one by one.
  double Seconds(const std::function<void(int)>& call) {
    const int repeats = tiny_ ? 3 : 24;
    for (int set = 0; set < kSets; ++set) call(set);
    std::vector<double> times;
    for (int i = 0; i < repeats; ++i) {
      OrDie(cudaEventRecord(start_, stream().handle()));
      call(i % kSets);
      OrDie(cudaEventRecord(stop_, stream().handle()));
      OrDie(cudaEventSynchronize(stop_));
      float milliseconds = 0;
      OrDie(cudaEventElapsedTime(&milliseconds, start_, stop_));
      times.push_back(1e-3 * static_cast<double>(milliseconds));
    }
    OrDie(stream().Synchronize());
    return Median(times);
  }

  // kSets buffers of random numbers in [-1, 1), float32 or bfloat16.
  std::vector<DeviceMemory> Random(std::int64_t count, DataType type) {
    std::vector<DeviceMemory> sets;
    std::vector<float> values(static_cast<std::size_t>(std::min<std::int64_t>(count, 1 << 20)));
    std::mt19937 generator(1);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    for (float& value : values) value = uniform(generator);
    const DeviceMemory source = OrDie(backend_.Allocate(values.size() * sizeof(float)));
    backend_.CopyToDevice(stream(), source.as<void>(), values.data(), source.bytes());
    for (int set = 0; set < kSets; ++set) {
      DeviceMemory memory = OrDie(backend_.Allocate(static_cast<std::size_t>(count) * SizeOf(type)));
      for (std::size_t at = 0; at < static_cast<std::size_t>(count); at += values.size()) {
        const std::size_t piece = std::min(values.size(), static_cast<std::size_t>(count) - at);
        transformer().Cast(stream(), piece, {source.as<const void>(), DataType::kF32},
                           {DevicePtr<void>(memory.as<char>() + at * SizeOf(type)), type});
      }
      sets.push_back(std::move(memory));
    }
    OrDie(stream().Synchronize());
    return sets;
  }

  void CopyRow(double bytes, double seconds) {
    copy_ = bytes / seconds;
    std::printf("%-44s %9.1f us %8.0f GB/s\n", "device-to-device copy", seconds * 1e6, copy_ * 1e-9);
  }
  void MemoryRow(const char* name, double bytes, double seconds) {
    const double share = bytes / seconds / copy_;
    worst_share_ = std::min(worst_share_, share);
    std::printf("%-44s %9.1f us %8.0f GB/s %5.2f of copy\n", name, seconds * 1e6, bytes / seconds * 1e-9, share);
  }
  double worst_share() const { return worst_share_; }

 private:
  Backend& backend_;
  const bool tiny_;
  std::unique_ptr<Stream> stream_;
  cudaEvent_t start_ = nullptr, stop_ = nullptr;
  double copy_ = 1;
  double worst_share_ = 1e9;
};

constexpr auto kBf16 = DataType::kBf16;

TypedPtr Half(const DeviceMemory& memory) { return {memory.as<void>(), kBf16}; }

void MemoryBound(Benchmark& bench) {
  const std::int64_t count = bench.Scaled(64 << 20);
  const auto n = static_cast<std::size_t>(count);
  const auto floats = static_cast<double>(count) * 4;
  {
    const auto a = bench.Random(count, DataType::kF32), b = bench.Random(count, DataType::kF32);
    bench.CopyRow(2 * floats, bench.Seconds([&](int i) {
      OrDie(cudaMemcpyAsync(b[static_cast<std::size_t>(i)].address(), a[static_cast<std::size_t>(i)].address(), n * 4,
                            cudaMemcpyDeviceToDevice, bench.stream().handle()));
    }));
    bench.MemoryRow("axpy", 3 * floats, bench.Seconds([&](int i) {
      const auto set = static_cast<std::size_t>(i);
      bench.ops().Axpy(bench.stream(), n, 0.5f, a[set].floats(), b[set].floats());
    }));
    const DeviceMemory norm = OrDie(bench.backend().Allocate(8));
    bench.MemoryRow("squared norm", floats, bench.Seconds([&](int i) {
      bench.ops().SquaredNorm(bench.stream(), n, a[static_cast<std::size_t>(i)].floats(), norm.as<double>());
    }));
    bench.MemoryRow("cast to bf16", 1.5 * floats, bench.Seconds([&](int i) {
      const auto set = static_cast<std::size_t>(i);
      bench.transformer().Cast(bench.stream(), n, {a[set].as<void>(), DataType::kF32}, Half(b[set]));
    }));
  }
  {
    // 124 M parameters, as gpt:124m: no cache holds them.
    const std::int64_t all = bench.Scaled(124 << 20) / 4 * 4;
    const auto elements = static_cast<std::size_t>(all);
    const double bytes = static_cast<double>(all) * 4;
    std::vector<DeviceMemory> arrays = bench.Random(all, DataType::kF32);
    const auto at = [&](std::size_t i) { return arrays[i].floats(); };
    VectorOps& ops = bench.backend().vector_ops();
    const StepArgs args{.rate = 1e-4, .weight_decay = 0.1, .step = 5};
    const AdamRule adam = Adam({0.9, 0.999, 1e-8}).Rule(args);
    bench.MemoryRow("sgd step", 3 * bytes, bench.Seconds([&](int) {
      ops.Step(bench.stream(), Sgd::Rule(args), {elements, at(0), at(1), {}});
    }));
    bench.MemoryRow("adam step", 7 * bytes, bench.Seconds([&](int) {
      ops.Step(bench.stream(), adam, {elements, at(0), at(1), {at(2), at(3)}});
    }));
    const DeviceMemory out = OrDie(bench.backend().Allocate(elements * 2));
    bench.MemoryRow("encode bf16", 1.5 * bytes, bench.Seconds([&](int i) {
      ops.EncodeBf16(bench.stream(), elements, at(static_cast<std::size_t>(i)), false, out.as<std::uint16_t>());
    }));
    bench.MemoryRow("encode bf16 with residual", 2.5 * bytes, bench.Seconds([&](int i) {
      ops.EncodeBf16(bench.stream(), elements, at(static_cast<std::size_t>(i)), true, out.as<std::uint16_t>());
    }));
    arrays = bench.Random(all, DataType::kF32);
    // Blocks of a model of some megabytes, and the largest (common/placement.h).
    const auto residual = bench.Random(all, DataType::kF32);
    for (const std::size_t size : {std::size_t{64} << 10, std::size_t{256} << 10}) {
      const EncodedBlocks blocks = EncodedBlocks::All(elements, size);
      const std::string by = ", blocks of " + std::to_string(size >> 10) + " Ki";
      const std::size_t kept = (size + 99) / 100, last = elements - (blocks.blocks - 1) * size;
      for (const bool with : {false, true}) {
        const std::string name = (with ? ", with residual" : "") + by;
        const auto to = [&](int i) {
          return with ? residual[static_cast<std::size_t>(i)].floats() : DevicePtr<float>();
        };
        bench.MemoryRow(("int8" + name).c_str(), (with ? 3.25 : 1.25) * bytes, bench.Seconds([&](int i) {
          ops.EncodeInt8(bench.stream(), blocks, at(static_cast<std::size_t>(i)), to(i), out.as<char>());
        }));
        bench.MemoryRow(("top-k of 1 %" + name).c_str(), (with ? 3.02 : 1.02) * bytes, bench.Seconds([&](int i) {
          ops.EncodeTopK(bench.stream(), blocks, kept, (last + 99) / 100, at(static_cast<std::size_t>(i)), to(i),
                         out.as<char>());
        }));
      }
    }
  }
  const NormShape shape{bench.Scaled(64 * 1024), 768};
  const std::int64_t elements = shape.rows * shape.width;
  const auto halves = static_cast<double>(elements) * 2;
  const auto x = bench.Random(elements, kBf16), branch = bench.Random(elements, kBf16);
  const auto y = bench.Random(elements, kBf16), sum = bench.Random(elements, kBf16);
  const auto gain = bench.Random(shape.width, DataType::kF32), statistics = bench.Random(shape.rows, DataType::kF32);
  const auto rstd = bench.Random(shape.rows, DataType::kF32);
  bench.MemoryRow("layer norm, bf16 x 768", 2 * halves, bench.Seconds([&](int i) {
    const auto set = static_cast<std::size_t>(i);
    bench.transformer().LayerNormForward(bench.stream(), shape, Half(x[set]), gain[0].floats(), gain[1].floats(),
                                         Half(y[set]), statistics[0].floats(), rstd[0].floats());
  }));
  bench.MemoryRow("add and layer norm", 4 * halves, bench.Seconds([&](int i) {
    const auto set = static_cast<std::size_t>(i);
    bench.transformer().AddLayerNormForward(bench.stream(), shape, Half(x[set]), Half(branch[set]), Half(sum[set]),
                                            gain[0].floats(), gain[1].floats(), Half(y[set]), statistics[0].floats(),
                                            rstd[0].floats());
  }));
  bench.MemoryRow("layer norm backward, adding to dx", 4 * halves, bench.Seconds([&](int i) {
    const auto set = static_cast<std::size_t>(i);
    bench.transformer().LayerNormBackward(bench.stream(), shape, Half(x[set]), gain[0].floats(), statistics[0].floats(),
                                          rstd[0].floats(), Half(branch[set]), Half(sum[set]), Write::kAdd,
                                          gain[2].floats(), gain[3].floats(), Write::kOverwrite);
  }));
  const LogitsShape logits{bench.Scaled(8192), 50257, 50304};
  const auto z = bench.Random(logits.rows * logits.columns, kBf16);
  const DeviceMemory labels = OrDie(bench.backend().Allocate(static_cast<std::size_t>(logits.rows) * 4));
  const DeviceMemory loss = OrDie(bench.backend().Allocate(sizeof(LossSum)));
  bench.MemoryRow("softmax cross-entropy, bf16 x 50304", static_cast<double>(logits.rows * logits.columns) * 4,
                  bench.Seconds([&](int i) {
                    const TypedPtr in_place = Half(z[static_cast<std::size_t>(i)]);
                    bench.transformer().SoftmaxCrossEntropy(bench.stream(), logits, in_place,
                                                            labels.as<const std::int32_t>(), 1e-3f, in_place,
                                                            loss.as<LossSum>());
                  }));
}

// Returns our time over the best one's.
double Product(Benchmark& bench, const char* name, const Gemm& gemm, cublasLtHandle_t cublas) {
  constexpr int kChoices = 12;
  void* const workspace = OrDie(bench.stream().Workspace());
  const auto time = [&](int choice) {
    GemmCache cache(cublas, false, choice);
    if (!cache.Run(bench.stream().handle(), gemm, workspace, CudaStream::kWorkspaceBytes).ok()) return 1e9;
    return bench.Seconds(
        [&](int) { OrDie(cache.Run(bench.stream().handle(), gemm, workspace, CudaStream::kWorkspaceBytes)); });
  };
  const double ours = time(0);
  double best = ours;
  int which = 0;
  for (int choice = 1; choice < kChoices; ++choice) {
    if (const double other = time(choice); other < best) best = other, which = choice;
  }
  const double again = time(0);  // the spread of the same version
  const double flops =
      2.0 * static_cast<double>(gemm.plan.m) * static_cast<double>(gemm.plan.n) * static_cast<double>(gemm.plan.k);
  const double taken = std::min(ours, again);
  std::printf("%-28s %5ld %5ld %5ld %9.1f us %6.0f TFLOP/s, best (%2d) %6.0f, %5.2f of it\n", name,
              static_cast<long>(gemm.plan.m), static_cast<long>(gemm.plan.n), static_cast<long>(gemm.plan.k),
              taken * 1e6, flops / taken * 1e-12, which, flops / best * 1e-12, best / taken);
  return best / taken;
}

double Products(Benchmark& bench) {
  const std::int64_t rows = bench.Scaled(32 * 1024);
  const auto x = bench.Random(rows * 3072, kBf16), y = bench.Random(rows * 3072, kBf16);
  const auto w = bench.Random(3072 * 3072, kBf16), dw = bench.Random(3072 * 3072, DataType::kF32);
  cublasLtHandle_t cublas = nullptr;
  OrDie(CublasStatus(cublasLtCreate(&cublas), "cublasLtCreate"));
  double worst = 1;
  const struct {
    const char* name;
    std::int64_t in, out;
  } layers[] = {{"qkv", 768, 2304}, {"attention out", 768, 768}, {"up", 768, 3072}, {"down", 3072, 768}};
  for (const auto& layer : layers) {
    const LinearShape shape{rows, layer.in, layer.out};
    const std::string name = layer.name;
    worst = std::min(worst, Product(bench, (name + " forward").c_str(),
                                    LinearForwardGemm(shape, CUDA_R_16BF, x[0].address(), w[0].address(),
                                                      w[1].address(), y[0].address()),
                                    cublas));
    worst = std::min(
        worst,
        Product(bench, (name + " data").c_str(),
                LinearBackwardDataGemm(shape, CUDA_R_16BF, y[0].address(), w[0].address(), x[0].address()), cublas));
    worst = std::min(worst, Product(bench, (name + " weights").c_str(),
                                    LinearBackwardWeightsGemm(shape, CUDA_R_16BF, x[0].address(), y[0].address(),
                                                              dw[0].floats().address(), Write::kOverwrite),
                                    cublas));
  }
  cublasLtDestroy(cublas);
  return worst;
}

void Attend(Benchmark& bench) {
  const AttentionShape shape{bench.Scaled(32), 1024, 12, 64};
  const std::int64_t rows = shape.batch * shape.length, width = shape.width();
  const auto qkv = bench.Random(rows * 3 * width, kBf16), y = bench.Random(rows * width, kBf16);
  const auto dy = bench.Random(rows * width, kBf16), dqkv = bench.Random(rows * 3 * width, kBf16);
  const auto lse = bench.Random(shape.batch * shape.heads * shape.length, DataType::kF32);
  const double pairs = static_cast<double>(shape.batch * shape.heads) * 1024.0 * 1024.0 / 2;
  const double forward = bench.Seconds([&](int i) {
    const auto set = static_cast<std::size_t>(i);
    bench.transformer().AttentionForward(bench.stream(), shape, Half(qkv[set]), Half(y[set]), lse[set].floats());
  });
  std::printf("%-44s %9.1f us %8.0f TFLOP/s\n", "attention, 32 x 1024 x 12 x 64", forward * 1e6,
              pairs * 4 * 64 / forward * 1e-12);
  const double backward = bench.Seconds([&](int i) {
    const auto set = static_cast<std::size_t>(i);
    bench.transformer().AttentionBackward(bench.stream(), shape, Half(qkv[set]), Half(y[set]), lse[set].floats(),
                                          Half(dy[set]), Half(dqkv[set]));
  });
  std::printf("%-44s %9.1f us %8.0f TFLOP/s\n", "attention backward", backward * 1e6,
              pairs * 10 * 64 / backward * 1e-12);
}

double GptStep(Backend& backend, bool tiny) {
  ModelSpec spec;
  spec.name = tiny ? "gpt:1m" : "gpt:124m";
  const int batch = tiny ? 2 : 32;
  spec.tokens = true;
  spec.classes = tiny ? 256 : 50257;
  spec.height = 1;
  spec.width = tiny ? 128 : 1024;
  spec.channels = 1;
  const std::unique_ptr<PlainLoop> loop = OrDie(PlainLoop::Make(backend, spec, batch, 0.01f, 1));
  std::vector<double> times;
  for (int i = 0; i < (tiny ? 4 : 16); ++i) {
    const auto start = std::chrono::steady_clock::now();
    const StepResult result = OrDie(loop->Step());
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i >= 3) times.push_back(taken.count());
    if (i % 5 == 0) std::printf("step %d: loss %.4f\n", i, result.loss_sum / (batch * static_cast<double>(spec.width)));
  }
  const double seconds = Median(times);
  std::printf("%-44s %9.2f ms %8.0f tokens/s\n", tiny ? "gpt:1m step" : "gpt:124m step, 32 x 1024, SGD", seconds * 1e3,
              batch * static_cast<double>(spec.width) / seconds);
  return seconds;
}

int Main(int argc, char** argv) {
  CudaOptions options;
  bool tiny = false, gpt = true, ops = true;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.compare(0, 14, "--device=cuda:") == 0) {
      options.device = std::atoi(word.c_str() + 14);
    } else if (word == "--tiny") {
      tiny = true;
    } else if (word == "--no_gpt") {
      gpt = false;
    } else if (word == "--only_gpt") {
      ops = false;
    } else {
      std::fprintf(stderr, "benchmark: %s: allowed are --device=cuda:N, --tiny, --no_gpt, --only_gpt\n", argv[i]);
      return 2;
    }
  }
  absl::StatusOr<std::unique_ptr<Backend>> made = absl::UnknownError("");
  leeway_new_cuda_backend_1(options, &made);
  const std::unique_ptr<Backend> backend = OrDie(std::move(made));
  std::printf("%s\n", backend->description().c_str());
  double share = 0, product = 0, step = 0;
  if (ops) {
    Benchmark bench(*backend, tiny);
    MemoryBound(bench);
    share = bench.worst_share();
    Attend(bench);
    std::fflush(stdout);
  }
  if (gpt) step = GptStep(*backend, tiny);
  std::fflush(stdout);
  if (ops) {
    Benchmark bench(*backend, tiny);
    product = Products(bench);
  }
  std::printf("result: ");
  if (ops) std::printf("memory-bound ops at least %.2f of copy, products at least %.2f of the best, ", share, product);
  std::printf("gpt step %.1f ms\n", step * 1e3);
  return 0;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { return leeway::Main(argc, argv); }
