#include "server/block_store.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kernels/optimizers/make_optimizer.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/encode_run.h"
#include "tests/support/random.h"

namespace leeway {
namespace {

using Floats = std::vector<float>;

// Two tensors, the second one in group "bias"; borders fall inside blocks.
Manifest TwoTensors(std::int64_t weights = 70001, std::int64_t bias = 5003) {
  v1::Manifest proto;
  proto.set_model("two");
  for (const auto& [name, count] : {std::pair("w", weights), std::pair("b", bias)}) {
    v1::TensorSpec& spec = *proto.add_tensors();
    spec.set_name(name);
    spec.add_shape(count);
    spec.mutable_initializer()->set_kind(v1::Initializer::NORMAL);
    spec.mutable_initializer()->set_b(1);
    if (spec.name() == "b") spec.set_group("bias");
  }
  return *Manifest::FromProto(proto);
}

v1::Policy AdamWithDecay() {
  v1::Policy policy;
  v1::OptimizerConfig& optimizer = *policy.mutable_optimizer();
  optimizer.set_kind(v1::OptimizerConfig::ADAM);
  optimizer.set_beta1(0.9);
  optimizer.set_beta2(0.99);
  optimizer.set_epsilon(1e-8);
  optimizer.set_weight_decay(0.1);
  v1::GroupConfig& group = *policy.add_groups();
  group.set_group("bias");
  group.set_rate_factor(2);
  group.set_weight_decay_factor(0);
  return policy;
}

v1::Policy FtrlWithPenalties() {
  v1::Policy policy = AdamWithDecay();
  v1::OptimizerConfig& optimizer = *policy.mutable_optimizer();
  optimizer.set_kind(v1::OptimizerConfig::FTRL);
  optimizer.set_l1(0.5);
  optimizer.set_l2(0.25);
  optimizer.set_beta(0.125);
  return policy;
}

Floats RandomFloats(Random& random, std::size_t count) {
  Floats floats(count);
  for (float& value : floats) value = static_cast<float>(random.Unit() - 0.5);
  return floats;
}

// The bytes of `floats`, split at random places into slices that start at odd addresses.
Buffer Split(Random& random, const Floats& floats) {
  const char* bytes = reinterpret_cast<const char*>(floats.data());
  const std::size_t size = floats.size() * sizeof(float);
  Buffer out;
  for (std::size_t at = 0; at < size;) {
    const std::size_t n = std::min<std::size_t>(size - at, 1 + random.Below(20000));
    auto owner = std::make_shared<std::string>("?");
    owner->append(bytes + at, n);
    out.Append({owner->data() + 1, n, owner});
    at += n;
  }
  return out;
}

Buffer Whole(const Floats& floats) {
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

// Every shard's part of a model vector, as runs of blocks, and back.
class Cluster {
 public:
  Cluster(const Manifest& manifest, std::uint32_t shards, const v1::Policy& policy)
      : placement_(*Placement::Make(manifest.elements(), shards)) {
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      stores_.push_back(*BlockStore::Make(manifest, placement_, shard, policy));
    }
  }

  // Calls fn(store, run, the run's part of `vector`) for every chunk.
  template <typename Fn>
  void ForEachChunk(Fn fn) {
    for (std::uint32_t shard = 0; shard < placement_.num_shards(); ++shard) {
      for (std::uint32_t chunk = 0; chunk < placement_.ShardChunks(shard); ++chunk) {
        const ChunkRun run = placement_.Chunk(shard, chunk);
        if (run.num_blocks > 0) fn(*stores_[shard], run);
      }
    }
  }

  Floats PartOf(const Floats& vector, const ChunkRun& run) const {
    Floats part;
    for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
      const std::uint64_t block = run.first_block + std::uint64_t{i} * placement_.num_shards();
      const auto begin = vector.begin() + static_cast<std::ptrdiff_t>(placement_.BlockBegin(block));
      part.insert(part.end(), begin, begin + static_cast<std::ptrdiff_t>(placement_.BlockSize(block)));
    }
    return part;
  }

  Floats Read(bool copy) {
    Floats vector(placement_.elements());
    ForEachChunk([&](BlockStore& store, const ChunkRun& run) {
      const Floats part = ToFloats(copy ? store.ReadCopy(run) : store.ReadLive(run));
      std::size_t at = 0;
      for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
        const std::uint64_t block = run.first_block + std::uint64_t{i} * placement_.num_shards();
        std::copy_n(part.begin() + static_cast<std::ptrdiff_t>(at), placement_.BlockSize(block),
                    vector.begin() + static_cast<std::ptrdiff_t>(placement_.BlockBegin(block)));
        at += placement_.BlockSize(block);
      }
    });
    return vector;
  }

  const Placement& placement() const { return placement_; }
  BlockStore& store(std::size_t shard) { return *stores_[shard]; }

 private:
  const Placement placement_;
  std::vector<std::shared_ptr<BlockStore>> stores_;
};

// The definition: one vector, one optimizer, tensor by tensor.
class Plain {
 public:
  Plain(const Manifest& manifest, const v1::Policy& policy)
      : manifest_(manifest), optimizer_(*MakeOptimizer(policy.optimizer())), decay_(policy.optimizer().weight_decay()) {
    for (int i = 0; i < optimizer_->slots(); ++i) {
      slots_.emplace_back(manifest.elements(), optimizer_->slot_initial_value(i));
    }
  }

  void Step(Floats* weights, const Floats& gradient, double rate) {
    ++steps_;
    for (const Tensor& tensor : manifest_.tensors()) {
      std::vector<float*> slots;
      for (Floats& slot : slots_) slots.push_back(slot.data() + tensor.offset);
      StepArgs args;
      args.weights = weights->data() + tensor.offset;
      args.gradient = gradient.data() + tensor.offset;
      args.slots = slots.data();
      args.count = tensor.count;
      args.rate = tensor.group == "bias" ? 2 * rate : rate;
      args.weight_decay = tensor.group == "bias" ? 0 : decay_;
      args.penalty_factor = tensor.group == "bias" ? 0 : 1;
      args.step = steps_;
      optimizer_->Step(args);
    }
  }

 private:
  const Manifest manifest_;
  const std::unique_ptr<Optimizer> optimizer_;
  const double decay_;
  std::vector<Floats> slots_;
  std::uint64_t steps_ = 0;
};

TEST_CASE("BlockStore: 1, 2 and 4 shards give the bits of a plain vector, from split payloads too") {
  const Manifest manifest = TwoTensors();
  for (const auto& [policy, shards] : {std::pair(AdamWithDecay(), 1u), std::pair(AdamWithDecay(), 2u),
                                       std::pair(AdamWithDecay(), 4u), std::pair(FtrlWithPenalties(), 4u)}) {
    Random random(TestSeed());  // the same numbers for every number of shards
    Cluster cluster(manifest, shards, policy);
    Plain plain(manifest, policy);
    Floats weights = RandomFloats(random, manifest.elements());
    cluster.ForEachChunk(
        [&](BlockStore& store, const ChunkRun& run) { store.Write(run, Split(random, cluster.PartOf(weights, run))); });
    CHECK(SameBits(cluster.Read(false), weights));
    Random splits(shards);
    for (int step = 0; step < 5; ++step) {
      const Floats gradient = RandomFloats(random, manifest.elements());
      const double rate = 0.01 * (step + 1);
      cluster.ForEachChunk([&](BlockStore& store, const ChunkRun& run) {
        const Floats part = cluster.PartOf(gradient, run);
        store.Apply(run, v1::F32, step % 2 == 0 ? Whole(part) : Split(splits, part), rate);
      });
      plain.Step(&weights, gradient, rate);
      CHECK(SameBits(cluster.Read(false), weights));
    }
    CHECK(SameBits(cluster.Read(true), weights));
    CHECK(cluster.store(0).Steps(0) == 5);
  }
}

TEST_CASE("BlockStore: a sum is taken in the order of its terms, bit for bit") {
  const Manifest manifest = TwoTensors();
  v1::Policy policy;  // SGD, no decay: w - rate * sum
  Floats first;
  for (const std::uint32_t shards : {1, 2, 4}) {
    Random random(TestSeed() + 1);
    Cluster cluster(manifest, shards, policy);
    std::vector<Floats> gradients;
    std::vector<float> shares = {0.5f, 0.3f, 0.2f};
    for (std::size_t i = 0; i < shares.size(); ++i) gradients.push_back(RandomFloats(random, manifest.elements()));
    Floats expected(manifest.elements());
    for (std::size_t k = 0; k < expected.size(); ++k) {
      float sum = 0;
      for (std::size_t i = 0; i < shares.size(); ++i) sum += shares[i] * gradients[i][k];
      expected[k] = 0.0f - 0.125f * sum;
    }
    Random splits(shards);
    cluster.ForEachChunk([&](BlockStore& store, const ChunkRun& run) {
      std::vector<BlockStore::Term> terms;
      for (std::size_t i = 0; i < shares.size(); ++i) {
        terms.push_back({shares[i], v1::F32, Split(splits, cluster.PartOf(gradients[i], run))});
      }
      store.ApplySum(run, terms, 0.125);
    });
    CHECK(cluster.Read(true) == expected);
  }
}

TEST_CASE("BlockStore: a gradient in any encoding gives the bits of what it decodes to") {
  const Manifest manifest = TwoTensors();
  for (const v1::Encoding encoding : {v1::BF16, v1::INT8, v1::TOP_K}) {
    Random random(TestSeed() + encoding);
    Cluster plain(manifest, 2, AdamWithDecay()), encoded(manifest, 2, AdamWithDecay());
    const auto pieces = [&](const Buffer& payload) {
      Floats bytes((payload.size() + 3) / 4);  // Split cuts floats
      payload.CopyTo(0, payload.size(), bytes.data());
      return Split(random, bytes).Sub(0, payload.size());
    };
    for (int step = 0; step < 3; ++step) {
      const Floats gradient = RandomFloats(random, manifest.elements());
      encoded.ForEachChunk([&](BlockStore& store, const ChunkRun& run) {
        const Buffer payload =
            EncodeRun(encoded.placement(), run, encoding, encoded.PartOf(gradient, run), 0.01 * (step + 1));
        const Floats floats = *DecodeRun(encoded.placement(), run, encoding, payload);
        const std::size_t shard = run.first_block % 2;
        REQUIRE(&store == &encoded.store(shard));
        if (step == 1) {
          store.ApplySum(run, {{0.25f, encoding, pieces(payload)}, {0.75f, v1::F32, Whole(floats)}}, 0.1);
          plain.store(shard).ApplySum(run, {{0.25f, v1::F32, Whole(floats)}, {0.75f, v1::F32, Whole(floats)}}, 0.1);
        } else {
          store.Apply(run, encoding, pieces(payload), 0.1);
          plain.store(shard).Apply(run, v1::F32, Whole(floats), 0.1);
        }
      });
      CHECK(SameBits(encoded.Read(true), plain.Read(true)));
    }
  }
}

TEST_CASE("BlockStore: the group of biases has a rate of its own and no decay") {
  const Manifest manifest = TwoTensors(5000, 100);
  v1::Policy policy;
  policy.mutable_optimizer()->set_weight_decay(0.5);
  v1::GroupConfig& group = *policy.add_groups();
  group.set_group("bias");
  group.set_rate_factor(0.25);
  Cluster cluster(manifest, 1, policy);
  cluster.ForEachChunk([&](BlockStore& store, const ChunkRun& run) {
    store.Write(run, Whole(Floats(5100, 1.0f)));
    store.Apply(run, v1::F32, Whole(Floats(5100, 2.0f)), 0.5);
  });
  const Floats weights = cluster.Read(true);
  CHECK(weights[4999] == 1.0f - 0.5f * (2.0f + 0.5f * 1.0f));
  CHECK(weights[5000] == 1.0f - 0.125f * 2.0f);
}

TEST_CASE("BlockStore: initial values do not depend on the number of shards") {
  const Manifest manifest = TwoTensors();
  Floats expected(manifest.elements());
  FillInitialValues(11, manifest, 0, absl::MakeSpan(expected));
  for (const std::uint32_t shards : {1, 2, 3, 40}) {
    Cluster cluster(manifest, shards, v1::Policy());
    for (std::uint32_t shard = 0; shard < shards; ++shard) cluster.store(shard).FillInitialValues(11, manifest);
    CHECK(SameBits(cluster.Read(false), expected));
  }
}

TEST_CASE("BlockStore: a live read shows later updates, a copy does not, and both outlive the store") {
  const Manifest manifest = TwoTensors(100, 3);
  const Placement placement = *Placement::Make(manifest.elements(), 1);
  std::shared_ptr<BlockStore> store = *BlockStore::Make(manifest, placement, 0, v1::Policy());
  const ChunkRun run = placement.Chunk(0, 0);
  const Buffer live = store->ReadLive(run);
  const Buffer copy = store->ReadCopy(run);
  store->Apply(run, v1::F32, Whole(Floats(103, 1.0f)), 1.0);
  store.reset();
  CHECK(ToFloats(live) == Floats(103, -1.0f));
  CHECK(ToFloats(copy) == Floats(103, 0.0f));
}

TEST_CASE("BlockStore: a shard without blocks, memory, and an impossible optimizer") {
  const Manifest manifest = TwoTensors(100, 3);
  const Placement placement = *Placement::Make(manifest.elements(), 3);
  const auto empty = *BlockStore::Make(manifest, placement, 2, v1::Policy());
  CHECK(empty->num_blocks() == 0);
  CHECK(empty->ReadLive({}).empty());
  CHECK(BlockStore::MemoryBytes(placement, 0, 2) == 103 * 4 * 3);
  constexpr std::uint64_t kHuge = std::uint64_t{5} << 32;
  CHECK(BlockStore::MemoryBytes(*Placement::Make(kHuge, 1), 0, 2) == kHuge * 4 * 3);
  v1::Policy policy;
  policy.mutable_optimizer()->set_weight_decay(-1);
  CHECK(absl::IsInvalidArgument(BlockStore::Make(manifest, placement, 0, policy).status()));
}

}  // namespace
}  // namespace leeway
