#include "server/check_policy.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/flags.h"
#include "common/status_macros.h"
#include "kernels/optimizers/make_optimizer.h"
#include "kernels/schedule.h"
#include "server/delay_policy.h"
#include "server/max_delay.h"

namespace leeway {

absl::Status CheckPolicy(const v1::Policy& policy) {
  const bool round = policy.aggregation() == v1::ROUND;
  if (policy.staleness_bound() < -1) {
    return FlagError("staleness_bound", absl::StrCat(policy.staleness_bound()), "-1, 0 and above");
  }
  if (round && policy.staleness_bound() != 0) {
    return FlagError("staleness_bound", absl::StrCat(policy.staleness_bound()), "0 with --aggregation=round");
  }
  if (round && policy.data_sharing() == v1::LEASED)
    return FlagError("data_sharing", "leased", "static with --aggregation=round");
  if (!round && policy.round_quorum() > 0) {
    return FlagError("round_quorum", absl::StrCat(policy.round_quorum()), "0 without --aggregation=round");
  }
  if (policy.num_workers() == 0 || policy.num_workers() > 4096) {
    return FlagError("num_workers", absl::StrCat(policy.num_workers()), "1 to 4096");
  }
  if (policy.round_quorum() > policy.num_workers()) {
    return FlagError("round_quorum", absl::StrCat(policy.round_quorum()),
                     absl::StrCat("0 to --num_workers=", policy.num_workers()));
  }
  const bool impossible = policy.max_delay() < -1 || policy.max_delay() == 0;
  if (impossible || (policy.max_delay_sqrt() && policy.max_delay() != 1)) {
    return FlagError("max_delay", absl::StrCat(policy.max_delay()), kMaxDelayAllowed);
  }
  const bool corrects = policy.dc_lambda() != 0;
  if (corrects &&
      !(policy.dc_lambda() > 0 && policy.dc_lambda() <= kMostDcLambda && policy.delay_policy() == v1::APPLY)) {
    return FlagError("dc_lambda", absl::StrCat(policy.dc_lambda()), kDcLambdaAllowed);
  }
  const bool delay_rule = policy.max_delay() >= 0 || policy.delay_policy() != v1::APPLY || corrects;
  if (round && delay_rule) {
    return FlagError("aggregation", "round", "each with --max_delay or --delay_policy (a round has no delay)");
  }
  if (!(policy.clip_norm() >= 0) || std::isinf(policy.clip_norm())) {
    return FlagError("clip_norm", absl::StrCat(policy.clip_norm()), "0 and above");
  }
  RETURN_IF_ERROR(MakeOptimizer(policy.optimizer()).status());
  return CheckSchedule(policy.schedule());
}

bool NeedsTicket(const v1::Policy& policy) {
  return policy.aggregation() == v1::EACH && (policy.max_delay() >= 0 || policy.delay_policy() != v1::APPLY);
}

}  // namespace leeway
