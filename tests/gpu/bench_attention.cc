#include <cstdio>

#include "absl/strings/str_format.h"
#include "tests/gpu/groups.h"

namespace leeway {

std::string BenchmarkAttention(Benchmark& bench) {
  const AttentionShape shape{bench.Scaled(32), 1024, 12, 64};
  const std::int64_t rows = shape.batch * shape.length, width = shape.width();
  const auto qkv = bench.Random(rows * 3 * width, DataType::kBf16), y = bench.Random(rows * width, DataType::kBf16);
  const auto dy = bench.Random(rows * width, DataType::kBf16), dqkv = bench.Random(rows * 3 * width, DataType::kBf16);
  const auto lse = bench.Random(shape.batch * shape.heads * shape.length, DataType::kF32);
  // Of two products forward and five backward, each of 2 x 64 operations for a pair.
  const double pairs = static_cast<double>(shape.batch * shape.heads * shape.length * shape.length) / 2;
  const auto row = [&](const char* name, double products, double seconds) {
    const double rate = pairs * products * 2 * 64 / seconds * 1e-12;
    std::printf("%-44s %9.1f us %8.0f TFLOP/s\n", name, seconds * 1e6, rate);
    return rate;
  };
  const double forward = row("attention, 32 x 1024 x 12 x 64", 2, bench.Seconds([&](std::size_t set) {
    bench.transformer().AttentionForward(bench.stream(), shape, Half(qkv[set]), Half(y[set]), lse[set].floats());
  }));
  const double backward = row("attention backward", 5, bench.Seconds([&](std::size_t set) {
    bench.transformer().AttentionBackward(bench.stream(), shape, Half(qkv[set]), Half(y[set]), lse[set].floats(),
                                          Half(dy[set]), Half(dqkv[set]));
  }));
  return absl::StrFormat("attention %.0f and %.0f TFLOP/s", forward, backward);
}

}  // namespace leeway
