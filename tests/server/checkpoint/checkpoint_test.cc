// What is written is read, for any number of shards, bit for bit.
#include <algorithm>
#include <bit>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/shard_checkpoint_writer.h"
#include "server/checkpoint/verify_checkpoint.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/checkpoint/checkpoint_fixture.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

constexpr std::uint32_t kShards[] = {1, 2, 3, 5};

TEST_CASE("checkpoint: round trips of odd sizes, between any numbers of shards") {
  for (const std::uint64_t elements : {1, 4097, 1'005'000}) {
    for (const std::uint32_t from : kShards) {
      const auto slots = static_cast<std::uint32_t>((elements + from) % 3);
      const MadeUp made = {elements, from, slots, 1234, TestSeed(), 1};
      CAPTURE(elements, from, slots);
      CrashFiles files(1);
      REQUIRE(SaveMadeUp(files, "dir", made).ToString() == "OK");
      CHECK(VerifyCheckpoint(files, "dir/step-00001234").empty());
      for (const std::uint32_t to : kShards) {
        CAPTURE(to);
        const auto reader = CheckpointReader::Open(files, "dir/step-00001234");
        REQUIRE(reader.ok());
        CHECK(CheckMadeUp(**reader, made, to).ToString() == "OK");
      }
      const auto reader = CheckpointReader::Open(files, "dir/step-00001234");
      for (std::uint32_t shard = 0; shard < from; ++shard) {
        const auto state = (*reader)->ReadState(shard);
        REQUIRE(state.ok());
        CHECK(state->SerializeAsString() == MadeUpState(made, shard).SerializeAsString());
      }
      v1::CheckpointIndex index = (*reader)->checkpoint().index;
      CHECK(index.files_size() == static_cast<int>(2 * from));
      index.clear_files();
      CHECK(index.SerializeAsString() == MadeUpIndex(made).SerializeAsString());
    }
  }
}

TEST_CASE("checkpoint: any part of a tensor by its place in the model vector") {
  const MadeUp made = {70'001, 3, 1, 1, TestSeed()};
  CrashFiles files(1);
  REQUIRE(SaveMadeUp(files, "dir", made).ok());
  const auto reader = CheckpointReader::Open(files, "dir/step-00000001");
  Random random(made.seed);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t first = random.Below(made.elements);
    std::vector<float> out(random.Below(made.elements - first + 1));
    REQUIRE((*reader)->Read(1, first, absl::MakeSpan(out)).ok());
    for (std::size_t k = 0; k < out.size(); ++k) {
      const auto wanted = std::bit_cast<std::uint32_t>(MadeUpValue(made, 1, first + k));
      if (std::bit_cast<std::uint32_t>(out[k]) != wanted) FAIL("element " << first + k);
    }
  }
}

// 1 shard has blocks of 64 Ki elements, 3 shards of 16 Ki.
TEST_CASE("checkpoint: a block takes the largest step number of those that it overlaps") {
  CrashFiles files(1);
  MadeUp made = {1'005'000, 3, 0, 1, TestSeed(), 1};
  REQUIRE(SaveMadeUp(files, "dir", made).ok());
  const auto reader = CheckpointReader::Open(files, "dir/step-00000001");
  const auto one = Placement::Make(made.elements, 1), three = Placement::Make(made.elements, 3);
  REQUIRE(one->block_elements() == 4 * three->block_elements());
  std::vector<std::uint64_t> steps(one->num_blocks());
  REQUIRE((*reader)->ReadSteps(*one, {0, static_cast<std::uint32_t>(steps.size())}, steps.data()).ok());
  for (std::uint64_t b = 0; b < steps.size(); ++b) {
    std::uint64_t largest = 0;
    for (std::uint64_t old = 4 * b; old < std::min(4 * b + 4, three->num_blocks()); ++old) {
      largest = std::max(largest, MadeUpSteps(made, three->BlockBegin(old)));
    }
    CHECK(steps[b] == largest);
  }
}

TEST_CASE("checkpoint: the files are safetensors, and say what they are") {
  CrashFiles files(1);
  const MadeUp made = {4097, 2, 2, 9, 1};
  REQUIRE(SaveMadeUp(files, "dir", made).ok());
  CHECK(*files.List("dir/step-00000009") ==
        std::vector<std::string>{"COMMITTED", "checkpoint.json", "shard-00000-of-00002.safetensors",
                                 "shard-00000-of-00002.state", "shard-00001-of-00002.safetensors",
                                 "shard-00001-of-00002.state"});
  const auto open = files.Open("dir/step-00000009/shard-00001-of-00002.safetensors");
  const auto header = ReadSafetensorsHeader("f", **open, {SafetensorsType::kF32, SafetensorsType::kI64});
  REQUIRE(header.ok());
  CHECK(header->Find("steps")->shape == std::vector<std::int64_t>{1});
  CHECK(header->Find("steps")->offset % 8 == 0);
  CHECK(header->Find("weights")->shape == std::vector<std::int64_t>{1});
  CHECK(header->Find("slot.0") != nullptr);
  CHECK(header->Find("slot.1") != nullptr);
  CHECK(header->tensors.size() == 4);
  SafetensorsMetadata metadata = header->metadata;
  CHECK(metadata["format"] == "leeway checkpoint 1");
  CHECK(metadata["shard_index"] == "1");
  CHECK(metadata["num_shards"] == "2");
  CHECK(metadata["elements"] == "4097");
  CHECK(metadata["block_elements"] == "4096");
  CHECK(metadata["optimizer"] == "adam");
  CHECK(metadata["model"] == "made-up");
  CHECK(metadata["model_fingerprint"].size() == 16);
  const std::string json = *files.Read("dir/step-00000009/checkpoint.json");
  CHECK(*files.Read("dir/step-00000009/COMMITTED") ==
        absl::StrCat(absl::Hex(Crc32c(json.data(), json.size()), absl::kZeroPad8), "\n"));
}

TEST_CASE("checkpoint: chunks may come from several threads") {
  const std::string directory = (std::filesystem::temp_directory_path() / "leeway_checkpoint_XXXXXX").string();
  std::string path = directory;
  REQUIRE(::mkdtemp(path.data()) != nullptr);
  const MadeUp made = {5'000'003, 2, 1, 1, TestSeed(), 1};
  const auto placement = Placement::Make(made.elements, made.num_shards);
  v1::CheckpointIndex index = MadeUpIndex(made);
  const std::string step = path + "/step-00000001";
  for (std::uint32_t shard = 0; shard < made.num_shards; ++shard) {
    const MadeUpShard values = MakeShard(made, *placement, shard);
    const auto writer = ShardCheckpointWriter::Create(
        RealFileSystem(), step,
        {index.manifest().model(), index.model_fingerprint(), *placement, shard, made.slots, "adam"});
    REQUIRE(writer.ok());
    std::vector<absl::Status> results(4);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < results.size(); ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t local = t; local < values.steps.size(); local += results.size()) {
          results[t].Update(WriteRun(**writer, values, *placement, {shard + local * made.num_shards, 1}));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const absl::Status& result : results) CHECK(result.ToString() == "OK");
    const auto written = (*writer)->Finish(MadeUpState(made, shard));
    REQUIRE(written.ok());
    for (const v1::CheckpointFile& file : *written) *index.add_files() = file;
  }
  REQUIRE(CommitCheckpoint(RealFileSystem(), step, index).ok());
  CHECK(VerifyCheckpoint(RealFileSystem(), step).empty());
  for (const std::uint32_t to : {2, 3}) {
    const auto reader = CheckpointReader::Open(RealFileSystem(), step);
    REQUIRE(reader.ok());
    CHECK(CheckMadeUp(**reader, made, to).ToString() == "OK");
  }
  std::filesystem::remove_all(path);
}

TEST_CASE("checkpoint: the writer takes each block of its shard once, and all of them") {
  CrashFiles files(1);
  const MadeUp made = {100'000, 2, 1, 1, 1};
  const auto placement = Placement::Make(made.elements, made.num_shards);
  const MadeUpShard values = MakeShard(made, *placement, 0);
  const ShardFile shard_file = {"m", 7, *placement, 0, 1, "sgd"};
  {
    const auto writer = ShardCheckpointWriter::Create(files, "dir", shard_file);
    REQUIRE(writer.ok());
    REQUIRE(WriteRun(**writer, values, *placement, {2, 2}).ok());
    const auto refused = [&](const ChunkRun& run, std::size_t slots, std::size_t steps) {
      const std::vector<const float*> all(slots, values.tensors[1].data());
      const absl::Status status =
          (*writer)->WriteChunk(run, values.tensors[0].data(), all, absl::MakeSpan(values.steps).first(steps));
      CHECK(absl::IsInvalidArgument(status));
      return std::string(status.message());
    };
    CHECK(absl::StrContains(refused({1, 1}, 1, 1), "not this shard's"));
    CHECK(absl::StrContains(refused({24, 3}, 1, 3), "not this shard's"));
    CHECK(absl::StrContains(refused({1'000'000, 1}, 1, 1), "not this shard's"));
    CHECK(absl::StrContains(refused({0, 1}, 2, 1), "2 slots and 1 steps; it takes 1 and 1"));
    CHECK(absl::StrContains(refused({0, 1}, 1, 2), "1 slots and 2 steps"));
    CHECK(absl::StrContains(refused({4, 2}, 1, 2), "overlap earlier ones"));
    CHECK(absl::StrContains(refused({0, 2}, 1, 2), "overlap earlier ones"));
    const absl::Status early = (*writer)->Finish({}).status();
    CHECK(absl::IsFailedPrecondition(early));
    CHECK(absl::StrContains(early.message(), "was not written"));
  }
  CHECK(files.List("dir")->empty());  // what was begun is removed
  // A full disk is an error, and leaves nothing either.
  files.FailAppends(absl::ResourceExhaustedError("disk full"));
  CHECK(absl::IsResourceExhausted(ShardCheckpointWriter::Create(files, "dir", shard_file).status()));
  files.FailAppends(absl::OkStatus());
  CHECK(files.List("dir")->empty());
  // Never into a checkpoint that is committed.
  REQUIRE(SaveMadeUp(files, "dir", made).ok());
  CHECK(absl::IsAlreadyExists(ShardCheckpointWriter::Create(files, "dir/step-00000001", shard_file).status()));
}

TEST_CASE("checkpoint: one that was given up does not touch the files of the next one of the same step") {
  CrashFiles files(1);
  const MadeUp made = {100'000, 1, 1, 1, 1};
  const auto placement = Placement::Make(made.elements, made.num_shards);
  const v1::CheckpointIndex index = MadeUpIndex(made);
  MadeUp other = made;
  other.seed = 2;
  const MadeUpShard stale = MakeShard(other, *placement, 0);
  auto given_up = ShardCheckpointWriter::Create(files, "dir/step-00000001",
                                                {.model = index.manifest().model(),
                                                 .model_fingerprint = index.model_fingerprint(),
                                                 .placement = *placement,
                                                 .shard = 0,
                                                 .slots = 1,
                                                 .optimizer = "sgd"});
  REQUIRE(given_up.ok());
  v1::CheckpointIndex written = index;
  REQUIRE(WriteShard(files, "dir/step-00000001", made, 0, &written).ok());
  REQUIRE(WriteRun(**given_up, stale, *placement, {0, 1}).ok());
  given_up->reset();
  REQUIRE(CommitCheckpoint(files, "dir/step-00000001", written).ok());
  const auto reader = CheckpointReader::Open(files, "dir/step-00000001");
  REQUIRE(reader.ok());
  CHECK(CheckMadeUp(**reader, made, 1).ok());
}

TEST_CASE("checkpoint: what could not be read again is not committed") {
  CrashFiles files(1);
  const MadeUp made = {100, 2, 1, 3, 1};
  v1::CheckpointIndex good = MadeUpIndex(made);
  for (std::uint32_t shard = 0; shard < 2; ++shard)
    REQUIRE(WriteShard(files, "d/step-00000003", made, shard, &good).ok());
  const auto refusal = [&](const v1::CheckpointIndex& index, absl::StatusCode code) {
    const absl::Status status = CommitCheckpoint(files, "d/step-00000003", index);
    CHECK(status.code() == code);
    CHECK_FALSE(files.Exists("d/step-00000003/checkpoint.json"));
    CHECK_FALSE(files.Exists("d/step-00000003/COMMITTED"));
    return std::string(status.message());
  };
  v1::CheckpointIndex bad = good;
  bad.mutable_files()->SwapElements(0, 2);
  CHECK(absl::StrContains(refusal(bad, absl::StatusCode::kInvalidArgument), "names the file"));
  bad = good;
  bad.mutable_files()->RemoveLast();
  CHECK(absl::StrContains(refusal(bad, absl::StatusCode::kInvalidArgument), "names 3 files"));
  bad = good;
  bad.set_model_fingerprint(1);
  CHECK(absl::StrContains(refusal(bad, absl::StatusCode::kInvalidArgument), "fingerprint"));
  bad = good;
  bad.mutable_files(0)->set_crc32c(1);
  CHECK(absl::StrContains(refusal(bad, absl::StatusCode::kInvalidArgument), "its pieces together"));
  // A shard that wrote somewhere else.
  REQUIRE(files.Remove("d/step-00000003/shard-00001-of-00002.state").ok());
  CHECK(absl::StrContains(
      refusal(good, absl::StatusCode::kDataLoss),
      "shard-00001-of-00002.state: it is missing (is --checkpoint_dir one folder that all ps share?)"));
}

}  // namespace
}  // namespace leeway
