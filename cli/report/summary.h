// What a run came to, for scripts (summary.json) and for the terminal.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "cli/report/facts.h"
#include "proto/coordinator.pb.h"

namespace leeway {

// summary.json: one object, keys as follows; later versions add keys and change none. Numbers are numbers,
// null where there is none (no evaluation yet, NaN). Seconds are since training began.
//
//   format                      1
//   command_line, started, machine, versions{name: version}
//   state                       starting, training, finishing, evaluating, finished
//   stop_reason, waiting_for
//   failure                     why the run has come to nothing, which is then its stop_reason; else ""
//   run_id                      16 hex digits (a string: above 2^53 other readers would round it)
//   model, elements, num_records, num_workers (trainers, all that ever were), num_shards
//   quarantined                 workers that are out because their pushes were not finite
//   final_accuracy, final_loss  of the last evaluation; final_evaluation is true where that was of the final weights
//   best_accuracy, training_loss
//   weights_crc32c              8 hex digits, of the final weights
//   seconds, samples, steps, samples_per_second
//   accepted_pushes, accepted_pushes_per_second
//   mean_gap, max_gap, mean_delay, max_delay
//   gap, delay                  {counts, mean, max}: counts[i]: how often it was i
//   workers[]                   {id, name, rank, role, state, reason, device, clock, steps, steps_given_up (their
//                               round had closed), samples, samples_per_second (recent), loss (mean over its samples),
//                               seconds{data, pull, compute, push, blocked, paced},
//                               blocked_on[{id, seconds}], pushes{applied, refused, dropped, partial},
//                               retries, exposed_seconds, hidden_seconds (communication that was waited for, and that
//                               was not), communication_per_step{exposed_ms, hidden_ms, exposed_share (of its time)}}
//   shards[]                    {index, address, connected, blocks, version,
//                               pushes{applied, refused, dropped, partial}, chunks{nonfinite, duplicate},
//                               push_bytes, pull_bytes, pulls_blocked, gap, delay}
//   evaluations[], training[], policy   as in proto/coordinator.proto and proto/policy.proto
std::string RenderSummaryJson(const v1::GetStatusReply& status, const RunFacts& facts);

// Several lines of plain text, at most 100 columns where names are short; ends with a newline.
std::string RenderSummaryTable(const v1::GetStatusReply& status);

}  // namespace leeway
