// What the verbs on checkpoints do, without their processes (tests/integration/checkpoint_files_test.py has those).
#include <bit>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/checkpoint/checkpoint_diff.h"
#include "cli/checkpoint/checkpoint_listing.h"
#include "cli/checkpoint/checkpoint_path.h"
#include "cli/checkpoint/export_weights.h"
#include "cli/checkpoint/reshard.h"
#include "common/safetensors.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/verify_checkpoint.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/checkpoint/checkpoint_fixture.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

std::unique_ptr<CheckpointReader> Reader(FileSystem& files, const std::string& path) {
  auto reader = CheckpointReader::Open(files, path);
  REQUIRE(reader.ok());
  return *std::move(reader);
}

TEST_CASE("reshard: from 1 shard to 3, 2 and back is the original, bit for bit") {
  for (const std::uint64_t elements : {1, 4097, 1'005'000}) {
    const auto slots = static_cast<std::uint32_t>(elements % 3);
    const MadeUp made = {elements, 1, slots, 8, TestSeed(), std::uint64_t{1} << 18};
    CAPTURE(elements, slots);
    CrashFiles files(1);
    REQUIRE(SaveMadeUp(files, "a", made).ok());
    REQUIRE(*ReshardCheckpoint(files, "a/step-00000008", 3, "b") == "b/step-00000008");
    REQUIRE(*ReshardCheckpoint(files, "b/step-00000008", 2, "c") == "c/step-00000008");
    REQUIRE(*ReshardCheckpoint(files, "c/step-00000008", 1, "d") == "d/step-00000008");
    for (const auto& [directory, shards] : {std::pair("b", 3), std::pair("c", 2), std::pair("d", 1)}) {
      const std::string path = absl::StrCat(directory, "/step-00000008");
      CHECK(VerifyCheckpoint(files, path).empty());
      const auto reader = Reader(files, path);
      CHECK(reader->checkpoint().index.num_shards() == static_cast<std::uint32_t>(shards));
      CHECK(CheckMadeUp(*reader, made, 1).ToString() == "OK");
      CHECK(CheckMadeUp(*reader, made, 5).ToString() == "OK");
      const auto state = reader->ReadState(0);
      REQUIRE(state.ok());
      CHECK(state->version() == 8);
      CHECK(state->samples() == 64 * 8);
      CHECK(state->members().empty());
      CHECK(state->journal_sequence() == 0);
      CHECK(state->min_clock() == 11);
      CHECK(state->snapshot().sequence() == 30);
      CHECK(state->snapshot().block_elements() == reader->checkpoint().placement.block_elements());
    }
    const std::string name = "/step-00000008/shard-00000-of-00001.safetensors";
    CHECK(files.Bytes("d" + name) == files.Bytes("a" + name));
    v1::CheckpointIndex before = Reader(files, "a/step-00000008")->checkpoint().index;
    v1::CheckpointIndex after = Reader(files, "d/step-00000008")->checkpoint().index;
    before.mutable_files()->RemoveLast();  // the state: its windows are gone
    after.mutable_files()->RemoveLast();
    CHECK(after.SerializeAsString() == before.SerializeAsString());
  }
}

TEST_CASE("reshard: refuses what it cannot do, and leaves nothing behind") {
  CrashFiles files(1);
  REQUIRE(SaveMadeUp(files, "a", {5000, 2, 1, 8, 1}).ok());
  const std::string source = "a/step-00000008";
  CHECK(absl::IsInvalidArgument(ReshardCheckpoint(files, source, 5000, "b").status()));
  CHECK(absl::IsAlreadyExists(ReshardCheckpoint(files, source, 3, "a").status()));
  CHECK(absl::IsNotFound(ReshardCheckpoint(files, "b", 3, "c").status()));
  files.Bytes(source + "/shard-00001-of-00002.safetensors").back() ^= 1;
  const absl::Status damaged = ReshardCheckpoint(files, source, 3, "b").status();
  CHECK(absl::IsDataLoss(damaged));
  CHECK(absl::StrContains(damaged.message(), "shard-00001-of-00002.safetensors: damaged in bytes"));
  CHECK(files.List("b")->empty());
}

TEST_CASE("diff: counts, largest distance and where it is, whatever the numbers of shards") {
  CrashFiles files(1);
  const std::uint64_t seed = TestSeed();
  REQUIRE(SaveMadeUp(files, "a", {50'000, 1, 1, 8, seed}).ok());
  REQUIRE(ReshardCheckpoint(files, "a/step-00000008", 3, "b").ok());
  const auto diff = [&] {
    return *DiffCheckpoints(*Reader(files, "a/step-00000008"), *Reader(files, "b/step-00000008"));
  };
  for (const TensorDiff& same : diff()) {
    CHECK(same.different == 0);
    CHECK(same.max_abs == 0);
  }

  // A checkpoint whose values are known, but for a few.
  const auto save = [&](const std::string& directory, const std::vector<std::pair<std::uint64_t, float>>& changed) {
    const MadeUp made = {50'000, 2, 1, 8, 1};
    v1::CheckpointIndex index = MadeUpIndex(made);
    const auto placement = Placement::Make(made.elements, made.num_shards);
    const std::string path = directory + "/step-00000008";
    for (std::uint32_t shard = 0; shard < made.num_shards; ++shard) {
      const auto writer =
          ShardCheckpointWriter::Create(files, path,
                                        {index.manifest().model(), index.model_fingerprint(), *placement, shard,
                                         made.slots, OptimizerName(index.policy().optimizer())});
      MadeUpShard values = MakeShard(made, *placement, shard);
      for (std::vector<float>& tensor : values.tensors) tensor.assign(tensor.size(), 1.0f);
      for (const auto& [element, value] : changed) {
        const std::uint64_t block = element / placement->block_elements();
        if (block % 2 == shard) {
          values.tensors[0][block / 2 * placement->block_elements() + element % placement->block_elements()] = value;
        }
      }
      const auto blocks = static_cast<std::uint32_t>(placement->ShardBlocks(shard));
      REQUIRE(WriteRun(**writer, values, *placement, {shard, blocks}).ok());
      const std::vector<v1::CheckpointFile> written = *(*writer)->Finish(MadeUpState(made, shard));
      for (const v1::CheckpointFile& file : written) *index.add_files() = file;
    }
    REQUIRE(CommitCheckpoint(files, path, index).ok());
  };
  save("c", {});
  save("d", {{7, 1.5f}, {24'999, -2.0f}, {25'000, 1.25f}, {49'999, NAN}});
  const auto diffs = *DiffCheckpoints(*Reader(files, "c/step-00000008"), *Reader(files, "d/step-00000008"));
  REQUIRE(diffs.size() == 6);
  CHECK(diffs[0].name == "first/w \"x\"");
  CHECK(diffs[0].elements == 25'000);
  CHECK(diffs[0].different == 2);
  CHECK(diffs[0].max_abs == 3.0);
  CHECK(diffs[0].worst == 24'999);
  CHECK(diffs[0].a == 1.0f);
  CHECK(diffs[0].b == -2.0f);
  CHECK(diffs[1].name == "b");
  CHECK(diffs[1].different == 1);
  CHECK(diffs[1].max_abs == 0.25);
  CHECK(diffs[1].worst == 0);
  CHECK(diffs[2].name == "scalar");
  CHECK(diffs[2].different == 1);
  CHECK(std::isinf(diffs[2].max_abs));
  CHECK(diffs[3].name == "first/w \"x\" slot.0");
  CHECK(diffs[3].different == 0);
  CHECK(absl::StrContains(DiffTable(diffs), "[24999] 1, -2"));
  CHECK(absl::StrContains(DiffJson(diffs), "\"max_abs\": 3.0"));
  CHECK(absl::StrContains(DiffJson(diffs), "\"max_abs\": null"));
}

TEST_CASE("diff: other models and other optimizers are refused by both names") {
  CrashFiles files(1);
  REQUIRE(SaveMadeUp(files, "a", {5000, 1, 1, 1, 1}).ok());
  REQUIRE(SaveMadeUp(files, "a", {5001, 1, 1, 2, 1}).ok());
  REQUIRE(SaveMadeUp(files, "a", {5000, 1, 2, 3, 1}).ok());
  const auto refusal = [&](const std::string& other) {
    const absl::Status status = DiffCheckpoints(*Reader(files, "a/step-00000001"), *Reader(files, other)).status();
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(absl::StrContains(status.message(), "a/step-00000001"));
    CHECK(absl::StrContains(status.message(), other));
    return std::string(status.message());
  };
  CHECK(absl::StartsWith(refusal("a/step-00000002"), "other models: "));
  CHECK(absl::StartsWith(refusal("a/step-00000003"), "other optimizers: "));
}

TEST_CASE("export: one file with the model's tensors, by name and shape") {
  for (const std::uint64_t elements : {1, 50'000, 2'500'000}) {
    CrashFiles files(1);
    const MadeUp made = {elements, 3, 2, 8, TestSeed()};
    REQUIRE(SaveMadeUp(files, "a", made).ok());
    const auto reader = Reader(files, "a/step-00000008");
    REQUIRE(ExportWeights(files, *reader, "out/w.safetensors").ok());
    CHECK(*files.List("out") == std::vector<std::string>{"w.safetensors"});
    const auto file = SafetensorsFile::Read(files, "out/w.safetensors");
    REQUIRE(file.ok());
    CHECK(file->metadata().at("step") == "8");
    CHECK(file->metadata().at("model") == "made-up");
    const Manifest& manifest = reader->checkpoint().manifest;
    REQUIRE(file->tensors().size() == manifest.tensors().size());
    for (const Tensor& tensor : manifest.tensors()) {
      const SafetensorsFile::Tensor* found = file->Find(tensor.name);
      REQUIRE(found != nullptr);
      CHECK(found->shape == tensor.shape);
      std::vector<float> values(found->count);
      file->Copy(*found, 0, absl::MakeSpan(values));
      for (std::uint64_t i = 0; i < values.size(); ++i) {
        const auto wanted = std::bit_cast<std::uint32_t>(MadeUpValue(made, 0, tensor.offset + i));
        if (std::bit_cast<std::uint32_t>(values[i]) != wanted) FAIL(tensor.name << " element " << i);
      }
    }
  }
}

TEST_CASE("export: a damaged checkpoint or a full disk leaves what was there") {
  CrashFiles files(1);
  REQUIRE(SaveMadeUp(files, "a", {50'000, 2, 0, 8, 1}).ok());
  files.Bytes("out/w") = "earlier";
  files.FailAppends(absl::ResourceExhaustedError("disk full"));
  CHECK(absl::IsResourceExhausted(ExportWeights(files, *Reader(files, "a/step-00000008"), "out/w")));
  files.FailAppends(absl::OkStatus());
  files.Bytes("a/step-00000008/shard-00001-of-00002.safetensors").back() ^= 1;
  CHECK(absl::IsDataLoss(ExportWeights(files, *Reader(files, "a/step-00000008"), "out/w")));
  CHECK(*files.List("out") == std::vector<std::string>{"w"});
  CHECK(files.Bytes("out/w") == "earlier");
}

TEST_CASE("checkpoint path: a checkpoint's own directory, or the newest good one in it") {
  CrashFiles files(1);
  for (const std::uint64_t step : {1, 2, 3}) REQUIRE(SaveMadeUp(files, "dir", {5000, 1, 0, step, step}).ok());
  std::vector<CheckpointEntry> skipped;
  CHECK(*ResolveCheckpoint(files, "dir", &skipped) == "dir/step-00000003");
  CHECK(skipped.empty());
  files.Bytes("dir/step-00000003/shard-00000-of-00001.safetensors").back() ^= 1;
  REQUIRE(files.Remove("dir/step-00000002/COMMITTED").ok());
  CHECK(*ResolveCheckpoint(files, "dir", &skipped) == "dir/step-00000001");
  REQUIRE(skipped.size() == 2);
  // Named itself, it is meant, however it is.
  CHECK(*ResolveCheckpoint(files, "dir/step-00000003", nullptr) == "dir/step-00000003");
  CHECK(*ResolveCheckpoint(files, "dir/step-00000002", nullptr) == "dir/step-00000002");
  CHECK(absl::IsNotFound(ResolveCheckpoint(files, "none", nullptr).status()));
  // Moved under a name of its own.
  files.Bytes("mine/COMMITTED") = "x";
  CHECK(IsCheckpointPath(files, "mine"));
  CHECK_FALSE(IsCheckpointPath(files, "dir"));

  const std::string table = CheckpointTable(*ListCheckpoints(files, "dir", CheckpointCheck::kIndex));
  CHECK(absl::StrContains(table, "not committed"));
  CHECK(absl::StrContains(table, "good"));
}

TEST_CASE("what a checkpoint says of itself does nothing to the terminal that it is shown on") {
  const std::string evil = "\x1b[2J\n";
  CheckpointEntry entry;
  entry.num_shards = 1;
  entry.time = evil;
  entry.status = absl::DataLossError(absl::StrCat("it names the file '", evil, "'"));
  TensorDiff diff;
  diff.name = evil;
  for (const std::string& shown :
       {CheckpointTable({entry}), VerifiedText({{"dir", {{evil, 0, evil}}}}), DiffTable({diff})}) {
    CHECK_FALSE(absl::StrContains(shown, "\x1b"));
    CHECK(absl::StrContains(shown, "\\x1b[2J\\n"));
  }
}

}  // namespace
}  // namespace leeway
