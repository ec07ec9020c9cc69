#include "server/checkpoint/shard_file.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr char kFormat[] = "leeway checkpoint 1";

SafetensorsMetadata MetadataOf(const ShardFile& file) {
  return {{"format", kFormat},
          {"model", file.model},
          {"model_fingerprint", absl::StrFormat("%016x", file.model_fingerprint)},
          {"shard_index", absl::StrCat(file.shard)},
          {"num_shards", absl::StrCat(file.placement.num_shards())},
          {"elements", absl::StrCat(file.placement.elements())},
          {"block_elements", absl::StrCat(file.placement.block_elements())},
          {"optimizer", file.optimizer}};
}

std::string Describe(const SafetensorsTensor& tensor) {
  return absl::StrCat(tensor.type == SafetensorsType::kF32 ? "F32" : "I64", " [", absl::StrJoin(tensor.shape, ","),
                      "] at byte ", tensor.offset);
}

}  // namespace

std::string OptimizerName(const v1::OptimizerConfig& optimizer) {
  return absl::AsciiStrToLower(v1::OptimizerConfig::Kind_Name(optimizer.kind()));
}

ShardFile ShardFileOf(const Checkpoint& checkpoint, std::uint32_t shard) {
  return {.model = checkpoint.manifest.model(),
          .model_fingerprint = checkpoint.manifest.fingerprint(),
          .placement = checkpoint.placement,
          .shard = shard,
          .slots = checkpoint.index.slots(),
          .optimizer = OptimizerName(checkpoint.index.policy().optimizer())};
}

std::string TensorName(std::uint32_t tensor) { return tensor == 0 ? "weights" : absl::StrCat("slot.", tensor - 1); }

absl::StatusOr<SafetensorsPlan> PlanShardFile(const std::string& path, const ShardFile& shard_file) {
  if (shard_file.slots > kMaxSlots) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", shard_file.slots, " slots; at most ", kMaxSlots));
  }
  const auto blocks = static_cast<std::int64_t>(shard_file.placement.ShardBlocks(shard_file.shard));
  const auto elements = static_cast<std::int64_t>(shard_file.placement.ShardElements(shard_file.shard));
  std::vector<SafetensorsTensor> tensors;
  tensors.push_back({.name = "steps", .type = SafetensorsType::kI64, .shape = {blocks}});
  for (std::uint32_t tensor = 0; tensor <= shard_file.slots; ++tensor) {
    tensors.push_back({.name = TensorName(tensor), .type = SafetensorsType::kF32, .shape = {elements}});
  }
  return PlanSafetensors(path, std::move(tensors), MetadataOf(shard_file));
}

absl::Status CheckShardFile(const std::string& path, const SafetensorsHeader& header, const ShardFile& shard_file) {
  for (const auto& [key, wanted] : MetadataOf(shard_file)) {
    const auto found = header.metadata.find(key);
    const std::string value = found == header.metadata.end() ? "missing" : absl::CHexEscape(found->second);
    if (found == header.metadata.end() || found->second != wanted) {
      return absl::DataLossError(
          absl::StrCat(path, ": another file: its ", key, " is ", value.substr(0, 80), ", the checkpoint's ", wanted));
    }
  }
  ASSIGN_OR_RETURN(const SafetensorsPlan plan, PlanShardFile(path, shard_file));
  if (header.tensors.size() != plan.tensors.size()) {
    return absl::DataLossError(absl::StrCat(path, ": another file: it has ", header.tensors.size(),
                                            " tensors, the checkpoint's ", plan.tensors.size()));
  }
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
    const SafetensorsTensor& wanted = plan.tensors[i];
    const SafetensorsTensor* found = header.Find(wanted.name);
    if (found == nullptr) return absl::DataLossError(absl::StrCat(path, ": another file: it has no ", wanted.name));
    if (found->type != wanted.type || found->shape != wanted.shape || found->offset != wanted.offset) {
      return absl::DataLossError(absl::StrCat(path, ": another file: its ", wanted.name, " is ", Describe(*found),
                                              ", the checkpoint's ", Describe(wanted)));
    }
  }
  return absl::OkStatus();
}

}  // namespace leeway
