#include "cli/checkpoint/checkpoint_verbs.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "cli/checkpoint/checkpoint_diff.h"
#include "cli/checkpoint/checkpoint_listing.h"
#include "cli/checkpoint/checkpoint_path.h"
#include "cli/checkpoint/export_weights.h"
#include "cli/checkpoint/reshard.h"
#include "cli/coordinator_flag.h"
#include "cli/output_flag.h"
#include "common/flags.h"
#include "common/grpc_transport.h"
#include "common/security_flags.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "server/ask_checkpoint.h"

ABSL_FLAG(absl::Duration, checkpoint_timeout, absl::Minutes(30), "how long `checkpoint now` waits; above 0s");

ABSL_DECLARE_FLAG(std::int32_t, num_shards);  // of worker/worker_flags.cc

namespace leeway {
namespace {

using Paths = std::vector<std::string>;

void Print(const std::string& text) { std::fputs(text.c_str(), stdout); }

// ResolveCheckpoint, with a line on stderr for each that is skipped.
absl::StatusOr<std::string> Resolve(const std::string& path) {
  std::vector<CheckpointEntry> skipped;
  absl::StatusOr<std::string> resolved = ResolveCheckpoint(RealFileSystem(), path, &skipped);
  for (const CheckpointEntry& entry : skipped) {
    std::fprintf(stderr, "leeway: skipped %s: %s\n", entry.path.c_str(),
                 EscapeUnprintable(entry.status.message()).c_str());
  }
  return resolved;
}

absl::StatusOr<std::unique_ptr<CheckpointReader>> OpenReader(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string directory, Resolve(path));
  return CheckpointReader::Open(RealFileSystem(), directory);
}

absl::StatusOr<std::vector<CheckpointEntry>> EntriesOf(const std::string& path) {
  FileSystem& files = RealFileSystem();
  if (!files.Exists(path)) return absl::NotFoundError(absl::StrCat(path, ": no such directory"));
  if (IsCheckpointPath(files, path)) {
    return std::vector<CheckpointEntry>{LookAtCheckpoint(files, path, CheckpointCheck::kIndex)};
  }
  return ListCheckpoints(files, path, CheckpointCheck::kIndex);
}

absl::StatusOr<int> List(const Paths& paths) {
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  ASSIGN_OR_RETURN(const std::vector<CheckpointEntry> entries, EntriesOf(paths[0]));
  if (entries.empty()) std::fprintf(stderr, "leeway: %s holds no checkpoint\n", paths[0].c_str());
  Print(json ? CheckpointsJson(entries) : entries.empty() ? "" : CheckpointTable(entries));
  return 0;
}

// All checkpoints of --checkpoint_dir; one that is not committed may be under way there, and is none.
absl::StatusOr<int> Verify(const Paths& paths) {
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  ASSIGN_OR_RETURN(const std::vector<CheckpointEntry> entries, EntriesOf(paths[0]));
  const bool one = IsCheckpointPath(RealFileSystem(), paths[0]);
  std::vector<VerifiedCheckpoint> verified;
  for (const CheckpointEntry& entry : entries) {
    if (!one && absl::IsNotFound(entry.status)) {
      std::fprintf(stderr, "leeway: skipped %s\n", EscapeUnprintable(entry.status.message()).c_str());
      continue;
    }
    VerifiedCheckpoint checkpoint = {entry.path, VerifyCheckpoint(RealFileSystem(), entry.path)};
    // Whole, and in the wrong place.
    if (checkpoint.damages.empty() && !entry.status.ok()) {
      checkpoint.damages.push_back({kIndexFileName, 0, std::string(entry.status.message())});
    }
    verified.push_back(std::move(checkpoint));
  }
  if (verified.empty()) return absl::NotFoundError(absl::StrCat(paths[0], " holds no checkpoint"));
  Print(json ? VerifiedJson(verified) : VerifiedText(verified));
  const auto good = [](const VerifiedCheckpoint& checkpoint) { return checkpoint.damages.empty(); };
  return std::all_of(verified.begin(), verified.end(), good) ? 0 : 1;
}

// Has a running cluster take one.
absl::StatusOr<int> Now(const Paths&) {
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  CheckpointAsk ask;
  ASSIGN_OR_RETURN(ask.coordinator, CoordinatorFlag());
  ask.limit = absl::GetFlag(FLAGS_checkpoint_timeout);
  if (ask.limit <= absl::ZeroDuration()) {
    return FlagError("checkpoint_timeout", absl::FormatDuration(ask.limit), "above 0s");
  }
  ASSIGN_OR_RETURN(const Security security, SecurityFromFlags());
  ask.on_wait = [said = std::string()](const std::string& reason) mutable {
    if (reason == said) return;
    said = reason;
    std::fprintf(stderr, "leeway: waiting: %s\n", EscapeUnprintable(reason).c_str());
  };
  const std::unique_ptr<Transport> transport = MakeGrpcTransport({.security = security});
  ASSIGN_OR_RETURN(const v1::CheckpointReply reply, AskForCheckpoint(*transport, ask));
  const nlohmann::ordered_json object = {{"name", reply.name()}, {"path", reply.path()}};
  Print((json ? object.dump(2) : EscapeUnprintable(reply.path())) + "\n");
  return 0;
}

absl::StatusOr<int> Reshard(const Paths& paths) {
  const std::int32_t num_shards = absl::GetFlag(FLAGS_num_shards);
  if (num_shards < 1) return FlagError("num_shards", absl::StrCat(num_shards), "1 and above");
  if (GivenOutput().empty()) return FlagError("output", "", "the directory to write the checkpoint to");
  ASSIGN_OR_RETURN(const std::string source, Resolve(paths[0]));
  ASSIGN_OR_RETURN(const std::string path,
                   ReshardCheckpoint(RealFileSystem(), source, static_cast<std::uint32_t>(num_shards), GivenOutput()));
  Print(absl::StrCat(path, ": ", num_shards, " shards, from ", source, "\n"));
  return 0;
}

absl::StatusOr<int> Diff(const Paths& paths) {
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  ASSIGN_OR_RETURN(const auto a, OpenReader(paths[0]));
  ASSIGN_OR_RETURN(const auto b, OpenReader(paths[1]));
  ASSIGN_OR_RETURN(const std::vector<TensorDiff> diffs, DiffCheckpoints(*a, *b));
  Print(json ? DiffJson(diffs) : DiffTable(diffs));
  const auto same = [](const TensorDiff& diff) { return diff.different == 0; };
  return std::all_of(diffs.begin(), diffs.end(), same) ? 0 : 1;
}

absl::StatusOr<int> Export(const Paths& paths) {
  if (GivenOutput().empty()) return FlagError("output", "", "the file to write the weights to");
  ASSIGN_OR_RETURN(const auto reader, OpenReader(paths[0]));
  RETURN_IF_ERROR(ExportWeights(RealFileSystem(), *reader, GivenOutput()));
  Print(absl::StrCat(GivenOutput(), ": ", reader->checkpoint().manifest.tensors().size(), " tensors of step ",
                     reader->checkpoint().index.step(), ", from ", reader->directory(), "\n"));
  return 0;
}

struct Command {
  const char* name;
  const char* usage;
  std::size_t paths;
  absl::StatusOr<int> (*run)(const Paths& paths);
};

constexpr Command kCommands[] = {
    {"list", "list PATH [-o json]", 1, List},
    {"verify", "verify PATH [-o json]", 1, Verify},
    {"reshard", "reshard PATH --num_shards=N -o DIR", 1, Reshard},
    {"diff", "diff PATH PATH [-o json]", 2, Diff},
    {"now", "now --coordinator=HOST:PORT [-o json]", 0, Now},
};

constexpr char kPathMeans[] = "PATH: a checkpoint's directory, or --checkpoint_dir (its newest good one)";

int Finish(const absl::StatusOr<int>& code) {
  if (!code.ok()) ExitWithError(WithHint(code.status()));
  return *code;
}

}  // namespace

int RunCheckpoint(const std::vector<std::string>& words, int, char**) {
  std::string usage = "usage:";
  for (const Command& command : kCommands) absl::StrAppend(&usage, " leeway checkpoint ", command.usage, ";");
  absl::StrAppend(&usage, " ", kPathMeans);
  for (const Command& command : kCommands) {
    if (words.empty() || words[0] != command.name) continue;
    const Paths paths(words.begin() + 1, words.end());
    if (paths.size() == command.paths) return Finish(command.run(paths));
    ExitWithError(
        absl::InvalidArgumentError(absl::StrCat("usage: leeway checkpoint ", command.usage, "; ", kPathMeans)));
  }
  ExitWithError(absl::InvalidArgumentError(usage));
}

int RunExport(const std::vector<std::string>& words, int, char**) {
  if (words.size() == 1) return Finish(Export(words));
  ExitWithError(absl::InvalidArgumentError(absl::StrCat("usage: leeway export PATH -o FILE; ", kPathMeans)));
}

}  // namespace leeway
