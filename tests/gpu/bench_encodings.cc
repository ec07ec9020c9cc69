#include <algorithm>

#include "absl/strings/str_format.h"
#include "tests/gpu/groups.h"

namespace leeway {

// Of 124 M values, as gpt:124m's gradient: no cache holds them.
std::string BenchmarkEncodings(Benchmark& bench) {
  const std::int64_t count = bench.Scaled(124 << 20) / 4 * 4;
  const auto n = static_cast<std::size_t>(count);
  const auto bytes = static_cast<double>(count) * 4;
  const EncodedBlocks blocks{n, 64 << 10};
  const DeviceMemory out = bench.Memory(n * 2), scales = bench.Memory(blocks.blocks() * sizeof(float));
  VectorOps& ops = bench.vector_ops();
  double worst = 1e9;
  const auto row = [&](const char* name, double moved, const std::function<void(std::size_t set)>& call) {
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
  row("encode int8", 1.25 * bytes, [&](std::size_t set) {
    ops.EncodeInt8(bench.stream(), blocks, values[set].floats(), false, scales.floats(), out.as<std::int8_t>());
  });
  const std::size_t kept = 656;  // 1 %
  const std::size_t last = n - (blocks.blocks() - 1) * blocks.block, last_kept = (last + 99) / 100;
  row("top-k of 1 %", bytes, [&](std::size_t set) {
    ops.SelectTopK(bench.stream(), blocks, kept, last_kept, values[set].floats(), out.as<std::uint32_t>(),
                   out.floats() + n / 4);
  });
  return absl::StrFormat("encodings at least %.2f of copy", worst);
}

}  // namespace leeway
