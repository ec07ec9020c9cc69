// What the worker's arithmetic reaches on this machine, on one compute thread unless told otherwise:
//   bazel run --config=opt //tests/bench:kernels_bench [-- --threads=N --tiny]
//
// - GEMM: a linear layer's three products, GFLOP/s, next to a scalar loop (the baseline row).
// - Models: a plain training loop (forward, backward, SGD), samples/s, and the share of the time that is spent in
//   the products of linear layers and convolutions. --tiny shrinks everything so that a test can run it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"
#include "tests/bench/timed_backend.h"
#include "worker/models/plain_loop.h"

namespace leeway {
namespace {

struct Settings {
  int threads = 1;
  bool tiny = false;
  double seconds() const { return tiny ? 0.01 : 0.5; }  // of each measurement
};

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  if (value.ok()) return std::move(value).value();
  std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
  std::exit(1);
}

// Of the calling thread where it is the only one that computes: time that others take from a shared machine does not
// count then. Elsewhere of the wall.
double Seconds(const Settings& settings) {
  timespec now{};
  clock_gettime(settings.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Seconds of the fastest of the calls that fit into `budget` seconds, after one call to warm up: the fastest is the one
// that was disturbed least.
double Fastest(const Settings& settings, double budget, const std::function<void()>& call) {
  call();
  double best = 1e30;
  for (const double start = Seconds(settings); Seconds(settings) - start < budget;) {
    const double begin = Seconds(settings);
    call();
    best = std::min(best, Seconds(settings) - begin);
  }
  return best;
}

// Device memory for one linear layer, filled with numbers of size 1.
class LinearBuffers {
 public:
  LinearBuffers(Backend& backend, const LinearShape& shape)
      : backend_(backend), shape_(shape), stream_(OrDie(backend.NewStream())) {
    x_ = Filled(shape.batch * shape.in);
    w_ = Filled(shape.out * shape.in);
    bias_ = Filled(shape.out);
    y_ = Filled(shape.batch * shape.out);
    dx_ = Filled(shape.batch * shape.in);
    dw_ = Filled(shape.out * shape.in);
  }

  void Forward() {
    backend_.ops().LinearForward(*stream_, shape_, x_.floats(), w_.floats(), bias_.floats(), y_.floats(),
                                 Activation::kNone);
    Wait();
  }
  void BackwardData() {
    backend_.ops().LinearBackwardData(*stream_, shape_, y_.floats(), w_.floats(), dx_.floats());
    Wait();
  }
  void BackwardWeights() {
    backend_.ops().LinearBackwardWeights(*stream_, shape_, x_.floats(), y_.floats(), dw_.floats(), bias_.floats(),
                                         Write::kOverwrite);
    Wait();
  }

 private:
  DeviceMemory Filled(std::int64_t count) {
    DeviceMemory memory = OrDie(backend_.Allocate(static_cast<std::size_t>(count) * sizeof(float)));
    std::vector<float> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) / 8.0f - 1.0f;
    backend_.CopyToDevice(*stream_, memory.floats(), values.data(), memory.bytes());
    Wait();
    return memory;
  }
  void Wait() {
    const absl::Status status = stream_->Synchronize();
    if (status.ok()) return;
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::exit(1);
  }

  Backend& backend_;
  const LinearShape shape_;
  const std::unique_ptr<Stream> stream_;
  DeviceMemory x_, w_, bias_, y_, dx_, dw_;
};

double Flops(const LinearShape& shape) { return 2.0 * static_cast<double>(shape.batch * shape.in * shape.out); }

// One row of a scalar loop: what a product costs without a library.
double BaselineGflops(const Settings& settings, const LinearShape& shape) {
  std::vector<float> x(static_cast<std::size_t>(shape.in), 0.5f),
      w(static_cast<std::size_t>(shape.out * shape.in), 0.25f);
  std::vector<float> y(static_cast<std::size_t>(shape.out));
  const double seconds = Fastest(settings, settings.seconds(), [&] {
    for (std::size_t o = 0; o < y.size(); ++o) {
      float sum = 0;
      for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * w[o * x.size() + i];
      y[o] = sum;
    }
    if (y[0] < 0) std::abort();  // keeps the loop from being optimized away
  });
  return Flops({1, shape.in, shape.out}) / seconds * 1e-9;
}

void BenchGemm(const Settings& settings, Backend& backend) {
  std::printf("%-22s %10s %10s %10s %14s   GFLOP/s\n", "linear batch,in,out", "forward", "data", "weights",
              "scalar loop");
  const std::vector<LinearShape> shapes =
      settings.tiny ? std::vector<LinearShape>{{8, 16, 16}}
                    : std::vector<LinearShape>{{64, 784, 1024},   {64, 1024, 1024}, {128, 784, 1024}, {128, 1024, 1024},
                                               {256, 1024, 1024}, {128, 1024, 10},  {128, 1568, 128}};
  for (const LinearShape& shape : shapes) {
    LinearBuffers buffers(backend, shape);
    const auto gflops = [&](const std::function<void()>& call) {
      return Flops(shape) / Fastest(settings, settings.seconds(), call) * 1e-9;
    };
    const double forward = gflops([&] { buffers.Forward(); });
    const double data = gflops([&] { buffers.BackwardData(); });
    const double weights = gflops([&] { buffers.BackwardWeights(); });
    const std::string name =
        std::to_string(shape.batch) + "," + std::to_string(shape.in) + "," + std::to_string(shape.out);
    std::printf("%-22s %10.1f %10.1f %10.1f %14.1f\n", name.c_str(), forward, data, weights,
                BaselineGflops(settings, shape));
  }
}

void BenchModels(const Settings& settings, Backend& backend) {
  struct Case {
    const char* model;
    int batch;
  };
  const std::vector<Case> cases =
      settings.tiny ? std::vector<Case>{{"softmax", 8}, {"mlp:16", 8}, {"cnn", 8}}
                    : std::vector<Case>{{"mlp", 64}, {"mlp", 128}, {"mlp", 256}, {"cnn", 64}, {"cnn", 128}};
  std::printf("\n%-12s %6s %12s %12s %14s\n", "plain loop", "batch", "ms/step", "samples/s", "products, %");
  for (const Case& bench : cases) {
    const ModelSpec spec{bench.model, 1, 28, 28, 10};
    TimedBackend timed(backend, [&] { return Seconds(settings); });
    const std::unique_ptr<PlainLoop> loop = OrDie(PlainLoop::Make(timed, spec, bench.batch, 0.01f, 1));
    // The products' share is of all steps together: noise hits both sums alike.
    double all = 0, products = 0;
    const double step = Fastest(settings, 4 * settings.seconds(), [&] {
      timed.TakeProductSeconds();
      const double begin = Seconds(settings);
      OrDie(loop->Step());
      all += Seconds(settings) - begin;
      products += timed.TakeProductSeconds();
    });
    std::printf("%-12s %6d %12.3f %12.0f %14.1f\n", bench.model, bench.batch, step * 1e3, bench.batch / step,
                100 * products / all);
  }
}

int Main(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--tiny") {
      settings.tiny = true;
    } else if (word.rfind("--threads=", 0) == 0) {
      settings.threads = std::atoi(word.c_str() + 10);
    } else {
      std::fprintf(stderr, "%s: allowed are --tiny and --threads=N\n", word.c_str());
      return 1;
    }
  }
  const std::unique_ptr<Backend> backend = OrDie(MakeBackend("cpu", settings.threads));
  std::printf("%s; %s time\n\n", backend->description().c_str(), settings.threads == 1 ? "thread" : "wall");
  BenchGemm(settings, *backend);
  BenchModels(settings, *backend);
  return 0;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { return leeway::Main(argc, argv); }
