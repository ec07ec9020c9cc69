// --checkpoint_dir: what is listed, what is newest, what is removed; and that a writer may die at any moment.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/newest_good.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/server/checkpoint/checkpoint_fixture.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

std::vector<std::uint64_t> StepsIn(FileSystem& files, CheckpointCheck check, bool good) {
  std::vector<std::uint64_t> steps;
  const std::vector<CheckpointEntry> entries = *ListCheckpoints(files, "dir", check);
  for (const CheckpointEntry& entry : entries) {
    if (entry.status.ok() == good) steps.push_back(entry.step);
  }
  return steps;
}
std::vector<std::uint64_t> Good(FileSystem& files) { return StepsIn(files, CheckpointCheck::kContents, true); }
std::vector<std::uint64_t> Bad(FileSystem& files) { return StepsIn(files, CheckpointCheck::kContents, false); }

using Steps = std::vector<std::uint64_t>;

TEST_CASE("checkpoint directory: names") {
  CHECK(StepDirectoryName(1234) == "step-00001234");
  CHECK(StepDirectoryName(123'456'789'012) == "step-123456789012");
  for (const std::uint64_t step : {std::uint64_t{0}, std::uint64_t{7}, ~std::uint64_t{0}}) {
    CHECK(StepOfDirectoryName(StepDirectoryName(step)) == step);
  }
  for (const char* name : {"", "step-", "step-1", "step-0000001x", "step-000000001", "step--0000001", "step-+0000001",
                           "step-00000001.tmp", "00000001", "step-18446744073709551616", "step- 0000001"}) {
    CAPTURE(name);
    CHECK_FALSE(StepOfDirectoryName(name).has_value());
  }
}

TEST_CASE("checkpoint directory: lists newest first, and says what is wrong with the others") {
  CrashFiles files(1);
  CHECK(ListCheckpoints(files, "dir", CheckpointCheck::kIndex)->empty());
  CHECK(absl::IsNotFound(NewestGoodCheckpoint(files, "dir", CheckpointCheck::kIndex, nullptr).status()));
  for (const std::uint64_t step : {5, 100, 20, 7}) REQUIRE(SaveMadeUp(files, "dir", {5000, 2, 1, step, step}).ok());
  files.Bytes("dir/notes.txt") = "mine";
  files.Bytes("dir/step-5/COMMITTED") = "no checkpoint's name";
  files.Bytes("dir/step-00000030/shard-00000-of-00002.safetensors.tmp") = "begun";
  files.Bytes("dir/step-00000100/shard-00001-of-00002.safetensors")[600] ^= 4;
  // Moved there by hand.
  const std::vector<std::string> names = *files.List("dir/step-00000007");
  for (const std::string& name : names) {
    files.Bytes("dir/step-00000050/" + name) = files.Bytes("dir/step-00000007/" + name);
  }
  const auto entries = *ListCheckpoints(files, "dir", CheckpointCheck::kContents);
  REQUIRE(entries.size() == 6);
  CHECK(entries[0].step == 100);
  CHECK(absl::IsDataLoss(entries[0].status));
  CHECK(absl::StrContains(entries[0].status.message(),
                          "dir/step-00000100/shard-00001-of-00002.safetensors: damaged in bytes 0 to "));
  CHECK(absl::StrContains(entries[1].status.message(), "it is of step 7, and lies where 50 belongs"));
  CHECK(absl::IsNotFound(entries[2].status));
  CHECK(entries[2].status.message() == "dir/step-00000030 is not committed: it has no COMMITTED");
  CHECK(entries[3].step == 20);
  CHECK(entries[3].status.ok());
  CHECK(entries[3].path == "dir/step-00000020");
  CHECK(entries[3].num_shards == 2);
  CHECK(entries[3].model == "made-up");
  CHECK(entries[3].time == "2026-01-02T03:04:05Z");
  CHECK(entries[3].bytes > 2 * 5000 * 4);
  CHECK(Good(files) == Steps{20, 7, 5});

  std::vector<CheckpointEntry> skipped;
  CHECK(NewestGoodCheckpoint(files, "dir", CheckpointCheck::kContents, &skipped)->step == 20);
  CHECK(skipped.size() == 3);
  // Whoever looks at the index alone is deceived, until it is revoked.
  CHECK(NewestGoodCheckpoint(files, "dir", CheckpointCheck::kIndex, nullptr)->step == 100);
  REQUIRE(RevokeCheckpoint(files, "dir/step-00000100").ok());
  REQUIRE(RevokeCheckpoint(files, "dir/step-00000100").ok());
  CHECK(NewestGoodCheckpoint(files, "dir", CheckpointCheck::kIndex, nullptr)->step == 20);
}

TEST_CASE("checkpoint directory: keeps the newest good ones, and never removes the last") {
  CrashFiles files(1);
  const auto save = [&](std::uint64_t step) { REQUIRE(SaveMadeUp(files, "dir", {5000, 2, 1, step, step}).ok()); };
  for (const std::uint64_t step : {1, 2, 3, 4, 5}) save(step);
  REQUIRE(files.Remove("dir/step-00000005/shard-00000-of-00002.state").ok());
  REQUIRE(files.Remove("dir/step-00000002/COMMITTED").ok());
  files.Bytes("dir/step-00000009/shard-00000-of-00002.safetensors.tmp") = "under way";
  REQUIRE(KeepNewestCheckpoints(files, "dir", 2).ok());
  CHECK(Good(files) == Steps{4, 3});
  CHECK(Bad(files) == Steps{9, 5});
  REQUIRE(KeepNewestCheckpoints(files, "dir", 0).ok());
  CHECK(Good(files) == Steps{4});
  save(6);
  REQUIRE(KeepNewestCheckpoints(files, "dir", 1).ok());
  CHECK(Good(files) == Steps{6});
  CHECK(Bad(files) == Steps{9});
  // Of the steps behind one the loss may have diverged: the newest up to there stays.
  for (const std::uint64_t step : {7, 8}) save(step);
  REQUIRE(KeepNewestCheckpoints(files, "dir", 1, 7).ok());
  CHECK(Good(files) == Steps{8, 7});
  save(10);
  REQUIRE(KeepNewestCheckpoints(files, "dir", 1, 7).ok());
  CHECK(Good(files) == Steps{10, 7});
  REQUIRE(KeepNewestCheckpoints(files, "dir", 1, 5).ok());  // of so few steps there is none
  CHECK(Good(files) == Steps{10});
  // Without a good one everything stays.
  save(6);
  REQUIRE(files.Remove("dir/step-00000010/COMMITTED").ok());
  REQUIRE(KeepNewestCheckpoints(files, "dir", 1).ok());
  REQUIRE(RemoveCheckpoint(files, "dir/step-00000010").ok());
  REQUIRE(files.Remove("dir/step-00000006/checkpoint.json").ok());
  REQUIRE(KeepNewestCheckpoints(files, "dir", 1).ok());
  CHECK(Bad(files) == Steps{6});
}

// A disk, or a limit of open files, that lets a file be read now and not then.
class UnreadableFile final : public RandomAccessFile {
 public:
  UnreadableFile(std::uint64_t size, std::string path) : size_(size), path_(std::move(path)) {}
  std::uint64_t Size() const override { return size_; }
  absl::Status ReadAt(std::uint64_t, std::size_t, void*) override {
    return absl::UnavailableError("read " + path_ + ": Input/output error");
  }

 private:
  const std::uint64_t size_;
  const std::string path_;
};

class Unreadable final : public FileSystem {
 public:
  Unreadable(CrashFiles* files, std::string path) : files_(files), path_(std::move(path)) {}

  absl::StatusOr<std::string> Read(const std::string& path) override {
    if (path == path_) return absl::UnavailableError("read " + path + ": Too many open files");
    return files_->Read(path);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    return files_->Create(path);
  }
  absl::StatusOr<std::unique_ptr<RandomWriteFile>> CreateSized(const std::string& path, std::uint64_t size) override {
    return files_->CreateSized(path, size);
  }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open(const std::string& path) override {
    absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = files_->Open(path);
    if (path == path_ && file.ok()) return std::make_unique<UnreadableFile>((*file)->Size(), path);
    return file;
  }
  absl::Status Rename(const std::string& from, const std::string& to) override { return files_->Rename(from, to); }
  absl::Status Remove(const std::string& path) override { return files_->Remove(path); }
  absl::Status MakeDirectories(const std::string& path) override { return files_->MakeDirectories(path); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override { return files_->List(path); }
  bool Exists(const std::string& path) override { return files_->Exists(path); }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override { return files_->Lock(path); }
  absl::Status SyncFile(const std::string& path) override { return files_->SyncFile(path); }
  absl::Status SyncDirectory(const std::string& path) override { return files_->SyncDirectory(path); }

 private:
  CrashFiles* const files_;
  const std::string path_;
};

TEST_CASE("checkpoint directory: what cannot be read just now is not taken for worthless") {
  CrashFiles files(1);
  for (const std::uint64_t step : {1, 2, 3}) REQUIRE(SaveMadeUp(files, "dir", {5000, 2, 1, step, step}).ok());
  for (const char* file : {"dir/step-00000002/COMMITTED", "dir/step-00000002/checkpoint.json"}) {
    CAPTURE(file);
    Unreadable now(&files, file);
    REQUIRE(KeepNewestCheckpoints(now, "dir", 3).ok());
    CHECK(Good(files) == Steps{3, 2, 1});
    CHECK(absl::IsUnavailable(BeginCheckpoint(now, "dir", 2).status()));
    CHECK(absl::IsUnavailable(ChooseNewestGood(now, "dir", 2).status()));
    CHECK(Good(files) == Steps{3, 2, 1});
  }
  for (const char* file : {"dir/step-00000002/COMMITTED", "dir/step-00000002/checkpoint.json"}) {
    CAPTURE(file);
    Unreadable now(&files, file);
    const absl::StatusOr<v1::CheckpointIndex> chosen = ChooseNewestGood(now, "dir", 1);  // that one is too new anyway
    REQUIRE(chosen.ok());
    CHECK(chosen->step() == 1);
    CHECK(Good(files) == Steps{1});
    REQUIRE(SaveMadeUp(files, "dir", {5000, 2, 1, 2, 2}).ok());
  }
}

TEST_CASE("checkpoint directory: one whose tensors or state cannot be read just now is not passed over for ever") {
  for (const char* file : {"shard-00001-of-00002.safetensors", "shard-00001-of-00002.state"}) {
    CAPTURE(file);
    CrashFiles files(1);
    for (const std::uint64_t step : {1, 2}) REQUIRE(SaveMadeUp(files, "dir", {5000, 2, 1, step, step}).ok());
    Unreadable now(&files, absl::StrCat("dir/step-00000002/", file));
    CHECK(absl::IsUnavailable(ChooseNewestGood(now, "dir", 2).status()));
    CHECK(Good(files) == Steps{2, 1});
    // But what is damaged elsewhere is so for good.
    files.Bytes("dir/step-00000002/shard-00001-of-00002.safetensors").back() ^= 1;
    files.Bytes("dir/step-00000002/shard-00000-of-00002.state").back() ^= 1;
    const absl::StatusOr<v1::CheckpointIndex> chosen = ChooseNewestGood(now, "dir", 2);
    REQUIRE(chosen.ok());
    CHECK(chosen->step() == 1);
  }
}

TEST_CASE("checkpoint directory: a step is begun anew unless it is good") {
  CrashFiles files(1);
  files.Bytes("dir/step-00000009/shard-00000-of-00002.safetensors.tmp") = "left behind";
  CHECK(*BeginCheckpoint(files, "dir", 9) == "dir/step-00000009");
  CHECK(files.List("dir/step-00000009")->empty());
  REQUIRE(SaveMadeUp(files, "dir", {5000, 2, 1, 9, 1}).ok());
  CHECK(absl::IsAlreadyExists(BeginCheckpoint(files, "dir", 9).status()));
  CHECK(Good(files) == Steps{9});
  files.Bytes("dir/step-00000009/checkpoint.json")[20] ^= 1;
  CHECK(BeginCheckpoint(files, "dir", 9).ok());
  CHECK(files.List("dir/step-00000009")->empty());
}

// What a coordinator and its shards do, again and again; the process dies at operation `crash_at`.
struct Life {
  std::uint64_t acknowledged = 0;  // the newest step whose commit has returned OK
  bool died = false;
};

MadeUp MadeUpAt(std::uint64_t step) {
  return {4097 + step, static_cast<std::uint32_t>(1 + step % 2), static_cast<std::uint32_t>(step % 3), step, step};
}

Life Live(CrashFiles& files, std::uint64_t first, std::uint64_t last) {
  Life life;
  for (std::uint64_t step = first; step <= last; ++step) {
    if (!SaveMadeUp(files, "dir", MadeUpAt(step)).ok()) return {life.acknowledged, true};
    life.acknowledged = step;
    if (!KeepNewestCheckpoints(files, "dir", 2).ok()) return {life.acknowledged, true};
  }
  return life;
}

TEST_CASE("checkpoint directory: whenever the writer dies, the newest good checkpoint is found whole") {
  constexpr std::uint64_t kSteps = 4;
  std::uint64_t operations = 0;
  {
    CrashFiles files(1);
    REQUIRE_FALSE(Live(files, 1, kSteps).died);
    operations = files.operations();
  }
  REQUIRE(operations > 100);
  for (const CrashFiles::Loss loss : {CrashFiles::Loss::kProcess, CrashFiles::Loss::kPower}) {
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      for (std::uint64_t at = 1; at <= operations; ++at) {
        CAPTURE(at, seed, loss == CrashFiles::Loss::kPower, TestSeed());
        CrashFiles files(TestSeed() + seed);
        files.CrashAt(at);
        const Life life = Live(files, 1, kSteps);
        REQUIRE((life.died || life.acknowledged == kSteps));
        files.Restart(loss);
        const auto newest = NewestGoodCheckpoint(files, "dir", CheckpointCheck::kContents, nullptr);
        if (life.acknowledged > 0) REQUIRE(newest.ok());
        const std::uint64_t found = newest.ok() ? newest->step : 0;
        // The one under way may have been committed without having been told.
        REQUIRE(found >= life.acknowledged);
        REQUIRE(found <= life.acknowledged + 1);
        // A crash leaves checkpoints that are not committed, and none that is committed and damaged.
        const auto entries = *ListCheckpoints(files, "dir", CheckpointCheck::kContents);
        for (const CheckpointEntry& entry : entries) REQUIRE((entry.status.ok() || absl::IsNotFound(entry.status)));
        if (newest.ok()) {
          const auto reader = CheckpointReader::Open(files, newest->path);
          REQUIRE(reader.ok());
          REQUIRE(CheckMadeUp(**reader, MadeUpAt(found), 2).ToString() == "OK");
        }
        // The next process goes on, and what was left over goes away.
        REQUIRE_FALSE(Live(files, found + 1, found + 2).died);
        REQUIRE(Good(files) == Steps{found + 2, found + 1});
        REQUIRE(Bad(files).empty());
      }
    }
  }
}

}  // namespace
}  // namespace leeway
