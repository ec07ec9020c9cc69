// PutWeights: uploads the weights that training starts from (--init_from) to every shard.
//
// Thread safety: any thread; `done` runs on the caller's executor.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "common/placement.h"
#include "worker/client/caller.h"
#include "worker/client/cluster_view.h"

namespace leeway {

// Sends every chunk of `weights` (all elements, kept alive by `owner`), one call per shard at a time. `done` gets
// the first error that is not worth another attempt.
void PutWeights(Caller& caller, std::shared_ptr<ClusterView> view, const Placement& placement,
                std::shared_ptr<const void> owner, const float* weights, std::function<void(absl::Status)> done);

}  // namespace leeway
