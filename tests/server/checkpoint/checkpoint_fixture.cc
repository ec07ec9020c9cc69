#include "tests/server/checkpoint/checkpoint_fixture.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "tests/support/random.h"

namespace leeway {

v1::Manifest MadeUpManifest(std::uint64_t elements) {
  v1::Manifest manifest;
  manifest.set_model("made-up");
  const auto add = [&](const std::string& name, std::vector<std::uint64_t> shape) {
    v1::TensorSpec& tensor = *manifest.add_tensors();
    tensor.set_name(name);
    for (const std::uint64_t dimension : shape) tensor.add_shape(static_cast<std::int64_t>(dimension));
    tensor.mutable_initializer()->set_kind(v1::Initializer::UNIFORM);
    tensor.mutable_initializer()->set_a(-0.1f);
    tensor.mutable_initializer()->set_b(0.3f);
  };
  if (elements < 8) {
    add("w", {elements});
    return manifest;
  }
  const std::uint64_t rows = elements / 4;
  add("first/w \"x\"", {rows, 2});
  add("b", {1, elements - 2 * rows - 1, 1});
  add("scalar", {});
  manifest.mutable_tensors(1)->set_group("bias");
  return manifest;
}

v1::CheckpointIndex MadeUpIndex(const MadeUp& made) {
  v1::CheckpointIndex index;
  index.set_format(kCheckpointFormat);
  index.set_step(made.step);
  index.set_time("2026-01-02T03:04:05Z");
  index.set_run_id(Mix64(made.seed));
  index.mutable_policy()->mutable_optimizer()->set_kind(v1::OptimizerConfig::ADAM);
  index.mutable_policy()->mutable_optimizer()->set_beta1(0.9);
  *index.mutable_manifest() = MadeUpManifest(made.elements);
  index.set_model_fingerprint(Manifest::FromProto(index.manifest())->fingerprint());
  index.set_num_shards(made.num_shards);
  index.set_block_elements(Placement::Make(made.elements, made.num_shards)->block_elements());
  index.set_slots(made.slots);
  index.set_coordinator(std::string("\0opaque\xff", 8));
  return index;
}

v1::ShardState MadeUpState(const MadeUp& made, std::uint32_t shard) {
  v1::ShardState state;
  state.set_shard_index(shard);
  state.set_num_shards(made.num_shards);
  state.set_step(made.step);
  state.set_run_id(Mix64(made.seed));
  state.set_journal_sequence(77 + shard);
  state.mutable_snapshot()->set_sequence(30 + shard);
  state.mutable_snapshot()->set_block_elements(Placement::Make(made.elements, made.num_shards)->block_elements());
  v1::MemberAtCut& member = *state.add_members();
  member.mutable_member()->set_name("w0");
  member.mutable_window()->set_clock(12);
  member.mutable_window()->add_past(v1::APPLIED);
  member.mutable_window()->add_past(v1::DROPPED);
  state.set_version(made.step + shard);
  state.set_samples(64 * made.step);
  state.set_ticket_watermark(5);
  state.add_settled_tickets(7);
  state.set_min_clock(11);
  return state;
}

float MadeUpValue(const MadeUp& made, std::uint32_t tensor, std::uint64_t element) {
  const std::uint64_t bits = HashCombine(HashCombine(made.seed, made.step * 8 + tensor), element);
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
}

std::uint64_t MadeUpSteps(const MadeUp& made, std::uint64_t element) {
  if (made.step_stretch == 0) return made.step;
  return HashCombine(made.seed, element / made.step_stretch) >> 1;
}

MadeUpShard MakeShard(const MadeUp& made, const Placement& placement, std::uint32_t shard) {
  MadeUpShard values;
  values.tensors.resize(1 + made.slots);
  for (std::uint64_t b = shard; b < placement.num_blocks(); b += placement.num_shards()) {
    const std::uint64_t begin = placement.BlockBegin(b), end = begin + placement.BlockSize(b);
    values.steps.push_back(MadeUpSteps(made, begin));
    for (std::uint32_t tensor = 0; tensor <= made.slots; ++tensor) {
      for (std::uint64_t i = begin; i < end; ++i) values.tensors[tensor].push_back(MadeUpValue(made, tensor, i));
    }
  }
  return values;
}

absl::Status WriteRun(ShardCheckpointWriter& writer, const MadeUpShard& values, const Placement& placement,
                      const ChunkRun& run) {
  const std::uint64_t local = run.first_block / placement.num_shards();
  const std::uint64_t at = local * placement.block_elements();
  std::vector<const float*> slots;
  for (std::size_t i = 1; i < values.tensors.size(); ++i) slots.push_back(values.tensors[i].data() + at);
  return writer.WriteChunk(run, values.tensors[0].data() + at, slots,
                           absl::MakeSpan(values.steps).subspan(local, run.num_blocks));
}

absl::Status WriteShard(FileSystem& files, const std::string& path, const MadeUp& made, std::uint32_t shard,
                        v1::CheckpointIndex* index) {
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(made.elements, made.num_shards));
  ASSIGN_OR_RETURN(const auto writer,
                   ShardCheckpointWriter::Create(files, path,
                                                 {.model = index->manifest().model(),
                                                  .model_fingerprint = index->model_fingerprint(),
                                                  .placement = placement,
                                                  .shard = shard,
                                                  .slots = made.slots,
                                                  .optimizer = OptimizerName(index->policy().optimizer())}));
  const MadeUpShard values = MakeShard(made, placement, shard);
  // Runs of 1 to 3 blocks.
  std::vector<ChunkRun> runs;
  Random random(made.seed + shard);
  for (std::uint64_t local = 0; local < values.steps.size();) {
    const auto blocks =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(random.Between(1, 3), values.steps.size() - local));
    runs.push_back({shard + local * placement.num_shards(), blocks});
    local += blocks;
  }
  for (std::size_t i = runs.size(); i > 1; --i) std::swap(runs[i - 1], runs[random.Below(i)]);
  for (const ChunkRun& run : runs) RETURN_IF_ERROR(WriteRun(*writer, values, placement, run));
  ASSIGN_OR_RETURN(const std::vector<v1::CheckpointFile> written, writer->Finish(MadeUpState(made, shard)));
  for (const v1::CheckpointFile& file : written) *index->add_files() = file;
  return absl::OkStatus();
}

absl::Status SaveMadeUp(FileSystem& files, const std::string& directory, const MadeUp& made) {
  ASSIGN_OR_RETURN(const std::string path, BeginCheckpoint(files, directory, made.step));
  v1::CheckpointIndex index = MadeUpIndex(made);
  for (std::uint32_t shard = 0; shard < made.num_shards; ++shard) {
    RETURN_IF_ERROR(WriteShard(files, path, made, shard, &index));
  }
  return CommitCheckpoint(files, path, index);
}

absl::Status CheckMadeUp(CheckpointReader& reader, const MadeUp& made, std::uint32_t num_shards) {
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(made.elements, num_shards));
  const bool compare_steps =
      made.step_stretch == 0 || placement.block_elements() == reader.checkpoint().placement.block_elements();
  if (reader.tensors() != 1 + made.slots) return absl::InternalError(absl::StrCat(reader.tensors(), " tensors"));
  for (std::uint32_t shard = 0; shard < num_shards; ++shard) {
    const MadeUpShard wanted = MakeShard(made, placement, shard);
    MadeUpShard read;
    for (std::uint32_t tensor = 0; tensor < reader.tensors(); ++tensor) {
      std::vector<float>& values = read.tensors.emplace_back(placement.ShardElements(shard));
      float* out = values.data();
      for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(shard); ++chunk) {
        const ChunkRun run = placement.Chunk(shard, chunk);
        RETURN_IF_ERROR(reader.ReadRun(tensor, placement, run, out));
        out += placement.RunElements(run);
      }
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (std::bit_cast<std::uint32_t>(values[i]) != std::bit_cast<std::uint32_t>(wanted.tensors[tensor][i])) {
          return absl::InternalError(absl::StrCat("shard ", shard, " tensor ", tensor, " value ", i, " differs"));
        }
      }
    }
    read.steps.resize(placement.ShardBlocks(shard));
    RETURN_IF_ERROR(
        reader.ReadSteps(placement, {shard, static_cast<std::uint32_t>(read.steps.size())}, read.steps.data()));
    if (compare_steps && read.steps != wanted.steps) {
      return absl::InternalError(absl::StrCat("the steps of shard ", shard, " differ"));
    }
  }
  return absl::OkStatus();
}

}  // namespace leeway
