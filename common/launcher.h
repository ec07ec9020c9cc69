// LauncherTask: what the environment that a launcher of another system makes says about this process, so that such
// launchers start Leeway too:
//
//   TF_CONFIG   TensorFlow's JSON: {"cluster": {"chief": [...], "worker": [...], "ps": [...], "evaluator": [...]},
//               "task": {"type": "ps", "index": 1}}. "ps" 0 is the coordinator; "chief" (or "master") is the trainer of
//               rank 0, before the workers.
//   DMLC_ROLE   ps-lite's, MXNet's and BytePS's scheduler, server or worker, with DMLC_PS_ROOT_URI, DMLC_PS_ROOT_PORT,
//               DMLC_NUM_SERVER, DMLC_NUM_WORKER. The scheduler, the one process whose address all know, is `ps` 0: so
//               a run with N servers has N + 1 shards.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace leeway {

enum class LauncherRole { kPs, kTrainer, kEvaluator };

struct LauncherTask {
  std::string source;  // the variable that says it: "TF_CONFIG", "DMLC_ROLE"
  std::string task;    // as the launcher calls this process: "worker 1", "server"
  LauncherRole role = LauncherRole::kPs;
  std::optional<std::uint32_t> index;  // of a ps: its shard; of a trainer: its rank. Nothing: the launcher does not say
  std::string name;                    // of a worker, unique; "": the launcher gives none
  std::uint32_t num_shards = 0;
  std::uint32_t num_trainers = 0;
  std::uint32_t num_evaluators = 0;
  std::string coordinator;  // host:port of shard 0
  std::string address;      // of a ps: host:port where others reach it; port 0: any; "": the launcher does not say
  std::string interface;    // of a ps without address: the network interface to use; "": any
};

// `environment`: names and values. Nothing: it has none of these variables, or a TF_CONFIG without a cluster.
// INVALID_ARGUMENT, with the variable's name, the value and what is allowed: nonsense, or both are there.
absl::StatusOr<std::optional<LauncherTask>> ReadLauncherTask(const std::map<std::string, std::string>& environment);

// The same of this process's own environment.
absl::StatusOr<std::optional<LauncherTask>> LauncherTaskOfThisProcess();

}  // namespace leeway
