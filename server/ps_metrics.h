// What a `ps` shows of itself: its /metrics page, and its curves for TensorBoard.
//
// Thread safety: any thread, while the node lives.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/tensorboard_log.h"
#include "server/coordinator/run_sample.h"
#include "server/ps_node.h"

namespace leeway {

// Without a node (null: not yet, or no more), and while it goes back to a checkpoint, the page has only what is of the
// process.
std::string PsMetricsText(PsNode* node);

// Writes curves into DIRECTORY/run until it is destroyed, before the node is. Null: `directory` is empty, or this is
// not shard 0, which alone knows of the run.
std::unique_ptr<TensorBoardLog> WriteCurves(const std::string& directory, PsNode* node);

}  // namespace leeway
