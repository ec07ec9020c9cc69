#include "server/checkpoint/shard_state.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/crc32c.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {
namespace {

constexpr char kMagic[] = "LWYSTATE";
constexpr std::size_t kMagicBytes = 8;

struct Frame {
  char magic[kMagicBytes];
  std::uint64_t size;
  std::uint32_t body_crc;
  std::uint32_t frame_crc;  // of the bytes before it
};
static_assert(sizeof(Frame) == 24, "no padding: all bytes are written");
constexpr std::size_t kChecked = 20;

}  // namespace

std::string EncodeShardState(const v1::ShardState& state) {
  const std::string body = state.SerializeAsString();
  Frame frame{};
  std::memcpy(frame.magic, kMagic, kMagicBytes);
  frame.size = body.size();
  frame.body_crc = Crc32c(body.data(), body.size());
  frame.frame_crc = Crc32c(&frame, kChecked);
  return std::string(reinterpret_cast<const char*>(&frame), sizeof(frame)) + body;
}

absl::StatusOr<v1::ShardState> ParseShardState(const std::string& path, const std::string& bytes) {
  const auto refuse = [&](const std::string& why) { return absl::DataLossError(absl::StrCat(path, ": ", why)); };
  Frame frame{};
  if (bytes.size() < sizeof(frame)) {
    return refuse(absl::StrCat(bytes.size(), " bytes are no shard's state; the smallest has ", sizeof(frame)));
  }
  std::memcpy(&frame, bytes.data(), sizeof(frame));
  if (std::memcmp(frame.magic, kMagic, kMagicBytes) != 0) return refuse("no shard's state: it begins otherwise");
  if (frame.frame_crc != Crc32c(bytes.data(), kChecked)) return refuse("damaged in its first 24 bytes");
  if (frame.size != bytes.size() - sizeof(frame)) {
    return refuse(absl::StrCat("its state has ", bytes.size() - sizeof(frame), " bytes, and says ", frame.size));
  }
  const std::uint32_t crc = Crc32c(bytes.data() + sizeof(frame), frame.size);
  if (crc != frame.body_crc) {
    return refuse(
        absl::StrFormat("damaged behind byte 24: the CRC32C is %08x, and should be %08x", crc, frame.body_crc));
  }
  v1::ShardState state;
  if (frame.size > std::numeric_limits<int>::max() ||
      !state.ParseFromArray(bytes.data() + sizeof(frame), static_cast<int>(frame.size))) {
    return refuse("its state is no message that this version knows");
  }
  return state;
}

absl::StatusOr<v1::ShardState> ReadShardState(FileSystem& files, const std::string& directory,
                                              const v1::CheckpointIndex& index, std::uint32_t shard) {
  const v1::CheckpointFile& info = index.files(static_cast<int>(2 * shard + 1));
  const std::string path = absl::StrCat(directory, "/", info.name());
  absl::StatusOr<std::string> bytes = files.Read(path);
  if (absl::IsNotFound(bytes.status())) return absl::DataLossError(absl::StrCat(path, ": it is missing"));
  RETURN_IF_ERROR(bytes.status());
  if (bytes->size() != info.bytes()) {
    return absl::DataLossError(
        absl::StrCat(path, ": it has ", bytes->size(), " bytes, ", kIndexFileName, " says ", info.bytes()));
  }
  ASSIGN_OR_RETURN(v1::ShardState state, ParseShardState(path, *bytes));
  if (const std::uint32_t crc = Crc32c(bytes->data(), bytes->size()); crc != info.crc32c()) {
    return absl::DataLossError(absl::StrFormat("%s: another file than was saved: its CRC32C is %08x, %s says %08x",
                                               path, crc, kIndexFileName, info.crc32c()));
  }
  if (state.shard_index() != shard || state.num_shards() != index.num_shards() || state.step() != index.step() ||
      state.run_id() != index.run_id()) {
    return absl::DataLossError(absl::StrFormat(
        "%s: it is of shard %d of %d at step %d of run %016x; wanted: shard %d of %d at step %d of run %016x", path,
        state.shard_index(), state.num_shards(), state.step(), state.run_id(), shard, index.num_shards(), index.step(),
        index.run_id()));
  }
  return state;
}

v1::ShardState ReshardedState(const std::vector<v1::ShardState>& from, std::uint32_t shard,
                              const Placement& placement) {
  v1::ShardState state;
  state.set_shard_index(shard);
  state.set_num_shards(placement.num_shards());
  state.set_step(from.front().step());
  state.set_run_id(from.front().run_id());
  for (const v1::ShardState& old : from) {
    if (!state.has_snapshot() || state.snapshot().sequence() < old.snapshot().sequence()) {
      *state.mutable_snapshot() = old.snapshot();
    }
    state.set_version(std::max(state.version(), old.version()));
    state.set_samples(std::max(state.samples(), old.samples()));
    state.set_open_round(std::max(state.open_round(), old.open_round()));
    state.set_ticket_watermark(std::max(state.ticket_watermark(), old.ticket_watermark()));
    state.set_min_clock(std::max(state.min_clock(), old.min_clock()));
  }
  state.mutable_snapshot()->set_block_elements(placement.block_elements());
  return state;
}

}  // namespace leeway
