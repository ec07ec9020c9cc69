// The table of `leeway why`: for each second that a worker did not compute, whom it waited for.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "proto/coordinator.pb.h"

namespace leeway {

// Seconds that one worker has waited for one other process, for one reason.
struct WhyRow {
  std::string waiter;      // a worker's name
  std::string waited_for;  // "worker-1", "shard 0", "the coordinator"
  std::string reason;      // "gate", "weights", "verdict", ...
  std::string call;        // "Pull", "Push", "AcquireData", "CommitData"
  double seconds = 0;
  double share = 0;  // of the waiter's time: computing, waiting, pacing and all
  std::uint64_t count = 0;
};

// Of every worker that has reported; those that waited longest first, each with its longest waits first.
std::vector<WhyRow> WhyRows(const v1::GetStatusReply& status);

// `status` with the rows as a table for people. A line below names those rows that are less than a hundredth of a
// worker's time together.
std::string WhyText(const v1::GetStatusReply& status);

// For programs: a list of objects with the fields of WhyRow, and of the waits that are under way.
std::string WhyJson(const v1::GetStatusReply& status);

// A worker's time: computing, waiting, pacing and all.
double TimeOf(const v1::PhaseSeconds& phases);

// The name of worker `id` ("worker-1"), or "worker 7" where it has none.
std::string NameOfWorker(const v1::GetStatusReply& status, std::uint32_t id);

}  // namespace leeway
