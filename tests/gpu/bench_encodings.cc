#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/gpu/groups.h"

namespace leeway {

// Of 124 M values, as gpt:124m's gradient: no cache holds them.
std::string BenchmarkEncodings(Benchmark& bench) {
  const std::int64_t count = bench.Scaled(124 << 20) / 4 * 4;
  const auto n = static_cast<std::size_t>(count);
  const auto bytes = static_cast<double>(count) * 4;
  const DeviceMemory out = bench.Memory(n * 2);
  VectorOps& ops = bench.vector_ops();
  double worst = 1e9;
  const auto row = [&](const std::string& name, double moved, const std::function<void(std::size_t set)>& call) {
    worst = std::min(worst, bench.MemoryRow(name, moved, call));
  };

  std::vector<DeviceMemory> values = bench.Random(count, DataType::kF32);
  row("encode bf16", 1.5 * bytes, [&](std::size_t set) {
    ops.EncodeBf16(bench.stream(), n, values[set].floats(), false, out.as<std::uint16_t>());
  });
  row("encode bf16 with residual", 2.5 * bytes,
      [&](std::size_t set) { ops.EncodeBf16(bench.stream(), n, values[set].floats(), true, out.as<std::uint16_t>()); });

  // A residual is left of the former ones. They are freed first: both together need not fit.
  values.clear();
  values = bench.Random(count, DataType::kF32);
  const std::vector<DeviceMemory> residuals = bench.Random(count, DataType::kF32);
  // Blocks of a model of some megabytes, and the largest (common/placement.h).
  for (const std::size_t size : {std::size_t{64} << 10, std::size_t{256} << 10}) {
    const EncodedBlocks blocks = EncodedBlocks::All(n, size);
    const std::size_t kept = (size + 99) / 100, last = n - (blocks.blocks - 1) * size;
    for (const bool with : {false, true}) {
      const std::string name = absl::StrCat(with ? ", with residual" : "", ", blocks of ", size >> 10, " Ki");
      const auto residual = [&](std::size_t set) { return with ? residuals[set].floats() : DevicePtr<float>(); };
      row("int8" + name, (with ? 3.25 : 1.25) * bytes, [&](std::size_t set) {
        ops.EncodeInt8(bench.stream(), blocks, values[set].floats(), residual(set), out.as<char>());
      });
      row("top-k of 1 %" + name, (with ? 3.02 : 1.02) * bytes, [&](std::size_t set) {
        ops.EncodeTopK(bench.stream(), blocks, kept, (last + 99) / 100, values[set].floats(), residual(set),
                       out.as<char>());
      });
    }
  }
  return absl::StrFormat("encodings at least %.2f of copy", worst);
}

}  // namespace leeway
