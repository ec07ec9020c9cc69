// What a shard's checkpoint takes, beside the disk's own speed, measured in turns:
//
//   write     ShardCheckpointWriter, chunk by chunk, to the end of its fsyncs; baseline: the same bytes written one
//   after
//             another to one file, and its fsync
//   restore   CheckpointReader into memory that is there, every CRC checked; baseline: the same file read from its
//             beginning to its end. Both with the page cache dropped.
//
// Values are medians of the rounds, ratios medians of the rounds' ratios. Memory: the peak above what the values take.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "cli/bench/bench_row.h"
#include "common/clock.h"
#include "common/end_process.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/hash.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/shard_checkpoint_writer.h"
#include "server/checkpoint/shard_file.h"
#include "tests/server/checkpoint/checkpoint_fixture.h"

ABSL_FLAG(std::uint64_t, megabytes, 400, "of weights and slots together");
ABSL_FLAG(std::uint32_t, slots, 1, "of the optimizer: 0 to 4");
ABSL_FLAG(int, rounds, 5, "rounds in which everything is measured side by side");
ABSL_FLAG(std::string, dir, "", "a directory on the disk that is to be measured; empty: the temporary one");
ABSL_FLAG(bool, tiny, false, "tiny sizes: that it runs, not what it measures");
ABSL_FLAG(std::string, output, "table", "table or json");

namespace leeway {
namespace {

constexpr std::uint64_t kAtOnce = 4 << 20;  // bytes, of the baselines
constexpr double kGoal = 0.7;

struct Shard {
  MadeUp made;
  v1::CheckpointIndex index;
  Placement placement;
  MadeUpShard values;
  std::uint64_t bytes() const { return made.elements * sizeof(float) * values.tensors.size(); }
};

Shard MakeUp(std::uint64_t bytes, std::uint32_t slots) {
  Shard shard;
  shard.made.elements = std::max<std::uint64_t>(1, bytes / sizeof(float) / (1 + slots));
  shard.made.slots = slots;
  shard.index = MadeUpIndex(shard.made);
  shard.placement = *Placement::Make(shard.made.elements, 1);
  shard.values.steps.assign(shard.placement.num_blocks(), 1);
  for (std::uint32_t tensor = 0; tensor <= slots; ++tensor) {
    std::vector<float>& values = shard.values.tensors.emplace_back(shard.made.elements);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(UnitUniform(Mix64(i * (1 + slots) + tensor)));
    }
  }
  return shard;
}

absl::Status WriteCheckpoint(const Shard& shard, const std::string& path) {
  FileSystem& files = RealFileSystem();
  ASSIGN_OR_RETURN(const auto writer,
                   ShardCheckpointWriter::Create(files, path,
                                                 {.model = shard.index.manifest().model(),
                                                  .model_fingerprint = shard.index.model_fingerprint(),
                                                  .placement = shard.placement,
                                                  .shard = 0,
                                                  .slots = shard.made.slots,
                                                  .optimizer = OptimizerName(shard.index.policy().optimizer())}));
  for (std::uint32_t chunk = 0; chunk < shard.placement.ShardChunks(0); ++chunk) {
    RETURN_IF_ERROR(WriteRun(*writer, shard.values, shard.placement, shard.placement.Chunk(0, chunk)));
  }
  ASSIGN_OR_RETURN(const std::vector<v1::CheckpointFile> written, writer->Finish(MadeUpState(shard.made, 0)));
  v1::CheckpointIndex index = shard.index;
  for (const v1::CheckpointFile& file : written) *index.add_files() = file;
  return CommitCheckpoint(files, path, index);
}

absl::Status WritePlain(const Shard& shard, const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file, RealFileSystem().Create(path));
  for (const std::vector<float>& tensor : shard.values.tensors) {
    const char* from = reinterpret_cast<const char*>(tensor.data());
    for (std::uint64_t left = tensor.size() * sizeof(float); left > 0;) {
      const std::uint64_t size = std::min(left, kAtOnce);
      RETURN_IF_ERROR(file->Append(from, size));
      from += size;
      left -= size;
    }
  }
  RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

// All of the shard's blocks at once: the file's layout is that of memory.
absl::Status Restore(const Shard& shard, const std::string& path, MadeUpShard& to) {
  ASSIGN_OR_RETURN(const auto reader, CheckpointReader::Open(RealFileSystem(), path));
  const ChunkRun all = {0, static_cast<std::uint32_t>(shard.placement.num_blocks())};
  for (std::uint32_t tensor = 0; tensor < reader->tensors(); ++tensor) {
    RETURN_IF_ERROR(reader->ReadRun(tensor, shard.placement, all, to.tensors[tensor].data()));
  }
  RETURN_IF_ERROR(reader->ReadSteps(shard.placement, all, to.steps.data()));
  return reader->ReadState(0).status();
}

absl::Status ReadPlain(const std::string& path, MadeUpShard& to) {
  ASSIGN_OR_RETURN(const auto file, RealFileSystem().Open(path));
  std::uint64_t at = 0;
  for (std::vector<float>& tensor : to.tensors) {
    char* out = reinterpret_cast<char*>(tensor.data());
    for (std::uint64_t left = tensor.size() * sizeof(float); left > 0;) {
      const std::uint64_t size = std::min(left, kAtOnce);
      RETURN_IF_ERROR(file->ReadAt(at, size, out));
      at += size;
      out += size;
      left -= size;
    }
  }
  return absl::OkStatus();
}

void DropFromCache(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
}

// A line of /proc/self/status, in bytes; 0: there is none.
double MemoryOf(const char* name) {
  std::uint64_t kib = 0;
  const absl::StatusOr<std::string> status = RealFileSystem().Read("/proc/self/status");
  for (const absl::string_view line : absl::StrSplit(status.ok() ? *status : "", '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (words.size() >= 2 && words[0] == name && !absl::SimpleAtoi(words[1], &kib)) kib = 0;
  }
  return static_cast<double>(kib) * 1024;
}

void ResetPeak() {
  if (std::FILE* file = std::fopen("/proc/self/clear_refs", "w"); file != nullptr) {
    std::fputs("5", file);
    std::fclose(file);
  }
}

struct Measured {
  std::vector<double> rates;  // bytes per second, by round
  double peak = 0;            // bytes above what was there before
};

absl::Status Measure(double bytes, Measured& measured, const std::function<absl::Status()>& work) {
  static const std::unique_ptr<Clock> clock = MakeSystemClock();
  ResetPeak();
  const double before = MemoryOf("VmRSS:");
  const Instant start = clock->Now();
  RETURN_IF_ERROR(work());
  measured.rates.push_back(bytes / absl::ToDoubleSeconds(clock->Now() - start));
  measured.peak = std::max(measured.peak, MemoryOf("VmHWM:") - before);
  return absl::OkStatus();
}

void AddRows(const char* name, const Measured& plain, const Measured& ours, const char* what,
             std::vector<BenchRow>* rows) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.rates.size(); ++i) ratios.push_back(ours.rates[i] / plain.rates[i]);
  const std::string baseline = absl::StrCat("checkpoint.disk.", name);
  rows->push_back(
      {.name = baseline, .value = Median(plain.rates) / 1e6, .unit = "MB/s", .baseline = "", .what = "the disk alone"});
  rows->push_back({.name = absl::StrCat("checkpoint.", name),
                   .value = Median(ours.rates) / 1e6,
                   .unit = "MB/s",
                   .baseline = baseline,
                   .ratio = Median(ratios),
                   .goal = kGoal,
                   .what = what});
  rows->push_back({.name = absl::StrCat("checkpoint.", name, ".memory"),
                   .value = ours.peak / 1e6,
                   .unit = "MB",
                   .baseline = "",
                   .what = "the largest peak above the values themselves"});
}

absl::StatusOr<std::vector<BenchRow>> Run(const std::string& directory) {
  const bool tiny = absl::GetFlag(FLAGS_tiny);
  const Shard shard = MakeUp(tiny ? 3'000'000 : absl::GetFlag(FLAGS_megabytes) * 1'000'000, absl::GetFlag(FLAGS_slots));
  MadeUpShard restored = shard.values;
  const auto bytes = static_cast<double>(shard.bytes());
  const std::string plain = directory + "/plain", path = directory + "/" + StepDirectoryName(1);
  const std::string tensors = absl::StrCat(path, "/", TensorsFileName(0, 1));
  Measured disk_write, write, disk_read, restore;
  const int rounds = tiny ? 2 : absl::GetFlag(FLAGS_rounds);
  for (int round = 0; round < rounds; ++round) {
    const auto write_plain = [&] { return Measure(bytes, disk_write, [&] { return WritePlain(shard, plain); }); };
    const auto read_plain = [&] { return Measure(bytes, disk_read, [&] { return ReadPlain(plain, restored); }); };
    // The two take turns at being first.
    if (round % 2 == 0) RETURN_IF_ERROR(write_plain());
    RETURN_IF_ERROR(Measure(bytes, write, [&] { return WriteCheckpoint(shard, path); }));
    if (round % 2 == 1) RETURN_IF_ERROR(write_plain());
    DropFromCache(plain);
    DropFromCache(tensors);
    if (round % 2 == 0) RETURN_IF_ERROR(read_plain());
    for (std::vector<float>& tensor : restored.tensors) std::fill(tensor.begin(), tensor.end(), 0.0f);
    RETURN_IF_ERROR(Measure(bytes, restore, [&] { return Restore(shard, path, restored); }));
    if (restored.tensors != shard.values.tensors || restored.steps != shard.values.steps) {
      return absl::InternalError("what was restored is not what was saved");
    }
    if (round % 2 == 1) RETURN_IF_ERROR(read_plain());
    RETURN_IF_ERROR(RemoveCheckpoint(RealFileSystem(), path));
    RETURN_IF_ERROR(RealFileSystem().Remove(plain));
  }
  std::vector<BenchRow> rows;
  AddRows("write", disk_write, write, "a shard's two files and COMMITTED, with their fsyncs", &rows);
  AddRows("read", disk_read, restore, "the shard in memory again, from a cold page cache, every CRC checked", &rows);
  return rows;
}

int Main(int argc, char** argv) {
  ParseFlags(argc, argv, "checkpoint_bench: a checkpoint's write and restore, beside the disk's own speed.");
  if (absl::GetFlag(FLAGS_rounds) < 1) ExitWithError(FlagError("rounds", "0", "1 and above"));
  if (absl::GetFlag(FLAGS_slots) > kMaxSlots) ExitWithError(FlagError("slots", "5", "0 to 4"));
  std::string directory = absl::GetFlag(FLAGS_dir);
  if (directory.empty()) directory = std::filesystem::temp_directory_path().string();
  directory += "/leeway-checkpoint-bench-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) ExitWithError(absl::UnavailableError("cannot make " + directory));
  const absl::StatusOr<std::vector<BenchRow>> rows = Run(directory);
  std::filesystem::remove_all(directory);
  if (!rows.ok()) ExitWithError(rows.status());
  const bool json = absl::GetFlag(FLAGS_output) == "json";
  std::fputs((json ? BenchJson(*rows) : BenchTable(*rows)).c_str(), stdout);
  return 0;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { leeway::EndProcess(leeway::Main(argc, argv)); }
