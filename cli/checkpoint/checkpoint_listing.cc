#include "cli/checkpoint/checkpoint_listing.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/report/format.h"
#include "common/utf8.h"

namespace leeway {
namespace {

using Json = nlohmann::ordered_json;

std::string StateOf(const CheckpointEntry& entry) {
  if (entry.status.ok()) return "good";
  if (absl::IsNotFound(entry.status)) return "not committed";
  return absl::StrCat("BAD: ", EscapeUnprintable(entry.status.message()));
}

// Text of a file may be no UTF-8, which the library would throw at.
std::string Dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace

std::string CheckpointTable(const std::vector<CheckpointEntry>& entries) {
  std::string table =
      absl::StrFormat("%-14s  %-20s  %-10s  %6s  %10s  %s\n", "step", "time", "model", "shards", "size", "state");
  for (const CheckpointEntry& entry : entries) {
    const bool known = entry.num_shards > 0;
    absl::StrAppendFormat(&table, "%-14d  %-20s  %-10s  %6s  %10s  %s\n", entry.step,
                          known ? EscapeUnprintable(entry.time) : "", entry.model,
                          known ? absl::StrCat(entry.num_shards) : "",
                          known ? FormatBytes(static_cast<double>(entry.bytes)) : "", StateOf(entry));
  }
  return table;
}

std::string CheckpointsJson(const std::vector<CheckpointEntry>& entries) {
  Json list = Json::array();
  for (const CheckpointEntry& entry : entries) {
    Json row = {{"path", entry.path}, {"step", entry.step}, {"good", entry.status.ok()}};
    row["committed"] = !absl::IsNotFound(entry.status);
    if (!entry.status.ok()) row["reason"] = std::string(entry.status.message());
    if (entry.num_shards > 0) {
      row["time"] = entry.time;
      row["run_id"] = absl::StrFormat("%016x", entry.run_id);
      row["model"] = entry.model;
      row["num_shards"] = entry.num_shards;
      row["bytes"] = entry.bytes;
    }
    list.push_back(std::move(row));
  }
  return Dump(list);
}

std::string VerifiedText(const std::vector<VerifiedCheckpoint>& verified) {
  std::string text;
  for (const VerifiedCheckpoint& checkpoint : verified) {
    if (checkpoint.damages.empty()) absl::StrAppend(&text, checkpoint.path, ": good\n");
    for (const CheckpointDamage& damage : checkpoint.damages) {
      absl::StrAppend(&text, "BAD: ", EscapeUnprintable(damage.reason), " (", EscapeUnprintable(damage.file),
                      ", from byte ", damage.offset, ")\n");
    }
  }
  return text;
}

std::string VerifiedJson(const std::vector<VerifiedCheckpoint>& verified) {
  Json list = Json::array();
  for (const VerifiedCheckpoint& checkpoint : verified) {
    Json damages = Json::array();
    for (const CheckpointDamage& damage : checkpoint.damages) {
      damages.push_back({{"file", damage.file}, {"offset", damage.offset}, {"reason", damage.reason}});
    }
    list.push_back({{"path", checkpoint.path}, {"good", checkpoint.damages.empty()}, {"damages", std::move(damages)}});
  }
  return Dump(list);
}

}  // namespace leeway
