// From the policy's optimizer configuration to an Optimizer.
//
// Thread safety: pure function.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/optimizers/optimizer.h"
#include "proto/policy.pb.h"

namespace leeway {

// INVALID_ARGUMENT naming the flag, its value and what is allowed. Fields that the kind does not use are not
// looked at (RMSPROP has no momentum). config.weight_decay is checked here, but reaches a step by StepArgs, after the
// parameter group's factor.
absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const v1::OptimizerConfig& config);

}  // namespace leeway
