// PsOptions: how one `ps` is to be.
//
// Thread safety: a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "common/protocol_version.h"
#include "common/security.h"
#include "proto/policy.pb.h"

namespace leeway {

struct PsOptions {
  std::uint32_t shard_index = 0;
  std::uint32_t num_shards = 1;
  std::string listen = "127.0.0.1:0";
  std::string advertise;      // host:port for workers; "": the listening address
  std::string coordinator;    // of shards other than 0
  bool local_sockets = true;  // serve workers of this machine on an abstract unix socket too
  v1::Policy policy;          // of shard 0
  // The folder for what must not be lost, the cluster's or one of this `ps` alone; "": none.
  std::string checkpoint_dir;
  // Of shards other than 0, with checkpoint_dir: it is not shard 0's folder, so checkpoints go there by way of shard 0.
  bool own_storage = false;
  // Asked while the start waits for shard 0, some 50 times a second: is it to end?
  std::function<bool()> told_to_end = [] { return false; };
  // Checkpoints, with checkpoint_dir; when is shard 0's to say.
  std::uint64_t checkpoint_steps = 0;
  absl::Duration checkpoint_interval = absl::InfiniteDuration();
  std::size_t checkpoint_keep = 3;
  enum class JournalMode { kOff, kOn, kFsync } journal = JournalMode::kOff;  // others than kOff need checkpoint_dir
  // Of shard 0, with checkpoint_dir: go back to a checkpoint when the loss is above so many times the first; 0:
  // never.
  double rollback_on_divergence = 0;
  absl::Duration lease = absl::Seconds(10);
  std::uint32_t num_evaluators = 0;  // that the start waits for, beside the policy's num_workers
  absl::Duration start_timeout = absl::Minutes(1);
  absl::Duration give_up_after = absl::Minutes(10);
  absl::Duration abandon_timeout = absl::Minutes(1);
  // Of shard 0 after the end, so that the last status can be read. Infinite: every `ps` stays, also one that begins
  // after the end, until RequestStop.
  absl::Duration linger = absl::Seconds(2);
  bool stays() const { return linger == absl::InfiniteDuration(); }
  std::size_t threads = 2;  // that apply gradients
  std::uint64_t max_held_bytes = std::uint64_t{4} << 30;
  bool keep_journal = false;            // also what no checkpoint needs
  std::uint64_t journal_max_bytes = 0;  // a journal that has grown by more asks for a checkpoint; 0: it does not
  absl::Duration drain_timeout = absl::Seconds(30);
  Security security = {};
  std::uint32_t protocol_version = kProtocolVersion;  // that it says it speaks: others for tests of upgrades
};

}  // namespace leeway
