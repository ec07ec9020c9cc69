// A DeviceEncoder and an ErrorFeedback get the same gradients: the same bytes come out, and the same is kept. The cpu
// backend stands for a device with memory of its own; LEEWAY_TEST_DEVICE=cuda:0 takes one.
#include "worker/trainer/device_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string>

#include "kernels/encodings/encoding.h"
#include "kernels/ops.h"
#include "tests/catch.h"
#include "tests/kernels/device_fixture.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "worker/client/chunk_memory.h"
#include "worker/client/error_feedback.h"

namespace leeway {
namespace {

constexpr int kSlots = 2;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

bool SameBits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Both {
  Both(std::uint64_t elements, std::uint32_t shards, const PushEncoding& how)
      : placement(Placement::Make(elements, shards).value()), host(placement, how) {
    for (DeviceMemory& gradient : gradients) gradient = fixture.backend().Allocate(elements * sizeof(float)).value();
    computed = fixture.backend().NewEvent().value();
    device = DeviceEncoder::Make(fixture.backend(), placement, how, kSlots).value();
  }

  // The chunks in the order in which they became ready: tensors of `tensor` elements are final from the last to the
  // first.
  std::vector<ChunkId> Encode(int slot, const Floats& gradient, std::uint64_t tensor) {
    std::vector<ChunkId> ids;
    const DevicePtr<float> on_device = gradients[slot].floats();
    device->BeginStep();
    for (std::uint64_t end = gradient.size(); end > 0;) {
      const std::uint64_t first = (end - 1) / tensor * tensor;
      fixture.backend().CopyToDevice(fixture.stream(), on_device + first, &gradient[first],
                                     (end - first) * sizeof(float));
      fixture.stream().Record(*computed);
      for (const ChunkId id : device->MarkFinal(slot, on_device, first, end - first, *computed)) ids.push_back(id);
      end = first;
    }
    for (const ChunkId id : ids) REQUIRE(device->Wait(slot, id).ok());
    return ids;
  }

  const Placement placement;
  ErrorFeedback host;
  DeviceFixture fixture;
  DeviceMemory gradients[kSlots];
  std::unique_ptr<Event> computed;
  std::shared_ptr<DeviceEncoder> device;
};

// Of any size and sign, with zeros of both signs.
Floats RandomGradient(std::uint64_t elements, Random& random) {
  Floats gradient(elements);
  const double scale = std::exp(20 * random.Unit() - 10);
  for (float& g : gradient) {
    const std::uint64_t kind = random.Below(8);
    g = kind == 0 ? 0.0f : kind == 1 ? -0.0f : static_cast<float>(scale * (random.Unit() - 0.5));
  }
  return gradient;
}

void Compare(Both& both, int steps) {
  INFO(both.placement.elements() << " elements, " << both.placement.num_shards() << " shards");
  Random random(TestSeed());
  std::map<int, std::map<ChunkId, Buffer>> sent;  // by slot: what the host gave, with two steps in flight
  for (int step = 0; step < steps; ++step) {
    const int slot = step % kSlots;
    // The push that had the slot is over: some of its chunks were not applied.
    for (const auto& [id, bytes] : sent[slot]) {
      REQUIRE(both.device->Bytes(slot, id).ToString() == bytes.ToString());
      if (random.Chance(0.6)) continue;
      both.host.Return(id, bytes);
      both.device->Return(id, both.device->Bytes(slot, id));
    }
    sent[slot].clear();
    const Floats gradient = RandomGradient(both.placement.elements(), random);
    const std::uint64_t tensor = 1 + random.Below(both.placement.elements());
    for (const ChunkId id : both.Encode(slot, gradient, tensor)) {
      const Buffer bytes = both.host.Encode(id, gradient.data()).value();
      REQUIRE(both.device->Bytes(slot, id).ToString() == bytes.ToString());
      sent[slot].emplace(id, bytes);
    }
    std::uint64_t elements = 0;
    for (const auto& [id, bytes] : sent[slot]) {
      elements += both.placement.RunElements(both.placement.Chunk(id.shard, id.chunk));
    }
    REQUIRE(elements == both.placement.elements());  // every chunk has come
  }
  CHECK(SameBits(both.device->Residual().value(), both.host.residual()));
}

const PushEncoding kEncodings[] = {{v1::INT8, 0, 0}, {v1::TOP_K, 0.01, 0}, {v1::TOP_K, 1, 0}};

TEST_CASE("A device's bytes and residual are the host's, step after step, with returns in between") {
  for (const PushEncoding& encoding : kEncodings) {
    for (const std::uint64_t elements : {1, 4095, 4096, 4097, 30011}) {
      for (const std::uint32_t shards : {1u, 2u, 5u}) {
        Both both(elements, shards, encoding);
        Compare(both, 12);
      }
    }
  }
}

TEST_CASE("The same with several chunks per shard") {
  for (const PushEncoding& encoding : kEncodings) {
    Both both(2 * Placement::kChunkElements * 3 / 2 + 13, 2, encoding);
    REQUIRE(both.placement.ShardChunks(0) == 2);
    Compare(both, 4);
  }
}

TEST_CASE("A block that cannot be encoded says NaN and keeps its residual; the chunk's others return with it") {
  for (const PushEncoding& encoding : kEncodings) {
    for (const float bad : {kNaN, -std::numeric_limits<float>::infinity(), 0x1p120f}) {
      Both both(5 * 4096 + 77, 2, encoding);
      REQUIRE(both.placement.ShardChunks(0) == 1);
      Random random(TestSeed());
      const Floats first = RandomGradient(both.placement.elements(), random);
      for (const ChunkId id : both.Encode(0, first, 1000)) both.host.Encode(id, first.data());
      Floats second = RandomGradient(both.placement.elements(), random);
      second[2 * 4096 + 5] = bad;  // of the second of shard 0's three blocks
      REQUIRE(both.Encode(1, second, 1000).size() == 2);
      // A decoder reads it, and finds a NaN where the bad block is, and there alone.
      const Buffer bytes = both.device->Bytes(1, {0, 0});
      std::size_t at = 0;
      for (const bool good : {true, false, true}) {
        Floats block(4096);
        at = DecodeBlock(encoding.encoding, bytes, at, 4096, block.data()).value();
        CHECK(std::all_of(block.begin(), block.end(), [](float v) { return std::isfinite(v); }) == good);
      }
      CHECK(at == bytes.size());
      both.device->Return({0, 0}, bytes);
      // To the host: the same, but that the bad block has no gradient.
      Floats without = second;
      std::fill_n(without.begin() + 2 * 4096, 4096, -0.0f);
      both.host.Absorb({0, 0}, without.data());
      both.host.Encode({1, 0}, without.data());
      Floats kept = both.device->Residual().value();
      for (std::size_t i = 2 * 4096; i < 3 * 4096 && encoding.encoding == v1::TOP_K; ++i) {
        const float expected = both.host.residual()[i];  // to rounding (kernels/vector_ops.h)
        const float rounding = 0x1p-23f * (std::abs(expected) + std::abs(second[i]));
        if (std::abs(kept[i] - expected) <= rounding) kept[i] = expected;
      }
      CHECK(SameBits(kept, both.host.residual()));
    }
  }
}

TEST_CASE("A gradient whose computation failed is never there") {
  Both both(100, 1, {v1::INT8, 0, 0});
  DeviceFixture& f = both.fixture;
  const DeviceMemory logits = f.Upload(Floats{1});
  const DeviceMemory label = f.Upload(std::vector<std::int32_t>{7});  // of one class
  const DeviceMemory sum = f.backend().Allocate(sizeof(LossSum)).value();
  f.ops().SoftmaxCrossEntropy(f.stream(), 1, 1, logits.floats(), label.as<std::int32_t>(), 1, {}, sum.as<LossSum>());
  f.stream().Record(*both.computed);
  both.device->BeginStep();
  const std::vector<ChunkId> ids = both.device->MarkFinal(0, both.gradients[0].floats(), 0, 100, *both.computed);
  REQUIRE(ids == std::vector<ChunkId>{{0, 0}});
  CHECK(absl::IsInvalidArgument(both.device->Wait(0, {0, 0})));
}

TEST_CASE("Momentum correction, and what keeps no residual, is not its matter") {
  CHECK(DeviceEncoder::Takes({v1::INT8, 0, 0}));
  CHECK(DeviceEncoder::Takes({v1::TOP_K, 0.01, 0}));
  CHECK_FALSE(DeviceEncoder::Takes({v1::TOP_K, 0.01, 0.9}));
  CHECK_FALSE(DeviceEncoder::Takes({v1::BF16, 0, 0}));
  CHECK_FALSE(DeviceEncoder::Takes({v1::F32, 0, 0}));
}

}  // namespace
}  // namespace leeway
