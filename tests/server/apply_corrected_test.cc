// BlockStore::ApplyCorrected: delay-compensated steps.
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/optimizers/make_optimizer.h"
#include "server/block_store.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/encode_run.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

using Floats = std::vector<float>;
using Base = BlockStore::Base;

constexpr double kLambda = 0.04;

v1::Policy Policy(v1::OptimizerConfig::Kind kind) {
  v1::Policy policy;
  v1::OptimizerConfig& optimizer = *policy.mutable_optimizer();
  optimizer.set_kind(kind);
  optimizer.set_beta1(0.9);
  optimizer.set_beta2(0.99);
  optimizer.set_epsilon(1e-8);
  optimizer.set_weight_decay(0.1);
  return policy;
}

Buffer ToBuffer(const Floats& floats) {
  auto owner = std::make_shared<Floats>(floats);
  return Buffer::Wrap(owner, owner->data(), owner->size() * sizeof(float));
}

Floats ToFloats(const Buffer& buffer) {
  Floats floats(buffer.size() / sizeof(float));
  buffer.CopyTo(0, buffer.size(), floats.data());
  return floats;
}

bool SameBits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// One shard of `shards`, with one tensor.
struct Store {
  Store(std::uint64_t elements, std::uint32_t shards, v1::OptimizerConfig::Kind kind)
      : placement(*Placement::Make(elements, shards)), run(placement.Chunk(shards - 1, 0)) {
    v1::Manifest proto;
    proto.set_model("one");
    v1::TensorSpec& spec = *proto.add_tensors();
    spec.set_name("w");
    spec.add_shape(static_cast<std::int64_t>(elements));
    spec.mutable_initializer()->set_kind(v1::Initializer::NORMAL);
    spec.mutable_initializer()->set_b(1);
    const Manifest manifest = *Manifest::FromProto(proto);
    store = *BlockStore::Make(manifest, placement, shards - 1, Policy(kind));
    store->FillInitialValues(1, manifest);
  }
  Floats Weights() { return ToFloats(store->ReadCopy(run)); }
  std::uint64_t count() const { return placement.RunElements(run); }

  const Placement placement;
  const ChunkRun run;
  std::shared_ptr<BlockStore> store;
};

Floats RandomFloats(Random& random, std::size_t count) {
  Floats floats(count);
  for (float& value : floats) value = static_cast<float>(4 * (random.Unit() - 0.5));
  return floats;
}

// As kernels/correct_delay.h says it, one operation after the other.
Floats Corrected(const Floats& gradient, const Floats& weights, const Floats& base) {
  Floats out;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const volatile float square = static_cast<float>(kLambda) * gradient[i] * gradient[i];
    const volatile float correction = square * (weights[i] - base[i]);
    out.push_back(gradient[i] + correction);
  }
  return out;
}

// Two workers that have both read the first weights; then the first pushes again, having read those between. The
// numbers were calculated in Python, with every operation rounded to float32.
TEST_CASE("ApplyCorrected: golden numbers of three SGD steps") {
  const v1::Manifest proto = [] {
    v1::Manifest manifest;
    manifest.set_model("four");
    v1::TensorSpec& spec = *manifest.add_tensors();
    spec.set_name("w");
    spec.add_shape(4);
    return manifest;
  }();
  const Placement placement = *Placement::Make(4, 1);
  const std::shared_ptr<BlockStore> store = *BlockStore::Make(*Manifest::FromProto(proto), placement, 0, v1::Policy());
  const ChunkRun run{0, 1};
  const Floats first = {0.5f, -1.25f, 2.0f, -0.03125f};
  store->Write(run, ToBuffer(first));
  const auto step = [&](const Floats& gradient, const Floats& base) {
    const Base given{run, v1::F32, ToBuffer(base)};
    store->ApplyCorrected(run, v1::F32, ToBuffer(gradient), {&given, 1}, kLambda, 0.1, false);
    return ToFloats(store->ReadCopy(run));
  };
  const Floats second = step({0.75f, -3.5f, 1.5f, 0.0625f}, first);
  CHECK(second == Floats{0x1.b33334p-2f, -0x1.ccccccp-1f, 0x1.d9999ap+0f, -0x1.333334p-5f});
  CHECK(step({-2.25f, 4.0f, 0.3f, -0.7f}, first) ==
        Floats{0x1.4d93dep-1f, -0x1.5288cep+0f, 0x1.d1ef10p+0f, 0x1.0a5720p-5f});
  CHECK(step({1.1f, -0.9f, 2.5f, 8.0f}, second) ==
        Floats{0x1.14b23ep-1f, -0x1.3b24e0p+0f, 0x1.922020p+0f, -0x1.922162p-1f});
}

TEST_CASE("ApplyCorrected: a step of any optimizer with the corrected gradient, which it returns") {
  Random random(TestSeed());
  for (const auto kind : {v1::OptimizerConfig::SGD, v1::OptimizerConfig::ADAM}) {
    for (const std::uint32_t shards : {1u, 3u}) {
      for (const v1::Encoding pushed : {v1::F32, v1::BF16, v1::INT8, v1::TOP_K}) {
        for (const v1::Encoding given : {v1::F32, v1::BF16}) {
          CAPTURE(kind, shards, pushed, given);
          Store store(30'001, shards, kind), plain(30'001, shards, kind), silent(30'001, shards, kind);
          const Floats base_values = RandomFloats(random, store.count());
          const Buffer base_bytes = EncodeRun(store.placement, store.run, given, base_values, 0);
          const Floats base = *DecodeRun(store.placement, store.run, given, base_bytes);
          const Base bases[] = {{store.run, given, base_bytes}};
          const Buffer payload =
              EncodeRun(store.placement, store.run, pushed, RandomFloats(random, store.count()), 0.1);
          const Floats gradient = *DecodeRun(store.placement, store.run, pushed, payload);
          const Floats want = Corrected(gradient, store.Weights(), base);
          const Buffer got = store.store->ApplyCorrected(store.run, pushed, payload, bases, kLambda, 0.1, true);
          CHECK(SameBits(ToFloats(got), want));
          plain.store->Apply(plain.run, v1::F32, ToBuffer(want), 0.1);
          CHECK(SameBits(store.Weights(), plain.Weights()));
          const Buffer nothing = silent.store->ApplyCorrected(silent.run, pushed, payload, bases, kLambda, 0.1, false);
          CHECK(nothing.empty());
          CHECK(SameBits(silent.Weights(), plain.Weights()));
        }
      }
    }
  }
}

TEST_CASE("ApplyCorrected: blocks that no base has are applied as they came") {
  Random random(TestSeed());
  Store store(5 * 4096 - 100, 1, v1::OptimizerConfig::SGD);
  const Floats base = RandomFloats(random, store.count()), gradient = RandomFloats(random, store.count());
  Floats want = Corrected(gradient, store.Weights(), base);
  std::copy_n(gradient.begin() + 2 * 4096, 4096, want.begin() + 2 * 4096);
  // Of the five blocks the third is missing.
  const Buffer all = ToBuffer(base);
  const Base bases[] = {{{0, 2}, v1::F32, all.Sub(0, 2 * 4 * 4096)},
                        {{3, 2}, v1::F32, all.Sub(3 * 4 * 4096, all.size() - 3 * 4 * 4096)}};
  const Buffer got = store.store->ApplyCorrected(store.run, v1::F32, ToBuffer(gradient), bases, kLambda, 0.1, true);
  CHECK(SameBits(ToFloats(got), want));
}

TEST_CASE("ApplyCorrected: where nothing has moved it is Apply") {
  Random random(TestSeed());
  Store store(30'001, 1, v1::OptimizerConfig::ADAM), plain(30'001, 1, v1::OptimizerConfig::ADAM);
  for (int step = 0; step < 3; ++step) {
    const Buffer gradient = ToBuffer(RandomFloats(random, store.count()));
    const Base base{store.run, v1::F32, store.store->ReadCopy(store.run)};
    store.store->ApplyCorrected(store.run, v1::F32, gradient, {&base, 1}, kLambda, 0.1, false);
    plain.store->Apply(plain.run, v1::F32, gradient, 0.1);
    CHECK(SameBits(store.Weights(), plain.Weights()));
  }
}

}  // namespace
}  // namespace leeway
