#include "kernels/optimizers/make_optimizer.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/optimizers/adagrad.h"
#include "kernels/optimizers/adam.h"
#include "kernels/optimizers/adamw.h"
#include "kernels/optimizers/ftrl.h"
#include "kernels/optimizers/momentum.h"
#include "kernels/optimizers/rmsprop.h"
#include "kernels/optimizers/sgd.h"

namespace leeway {
namespace {

// As FlagError: a person has given a flag.
absl::Status Refuse(const char* flag, double value, const char* allowed) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": allowed: ", allowed));
}

// Comparisons are written so that NaN fails them.
absl::Status CheckFraction(const char* flag, double value) {
  return value >= 0 && value < 1 ? absl::OkStatus() : Refuse(flag, value, "0 and above, below 1");
}

// Far from 0, so that it is still there as a float and 0 / (0 + epsilon) is 0.
absl::Status CheckDivisor(const char* flag, double value) {
  return value >= 1e-30 && value <= 1e6 ? absl::OkStatus() : Refuse(flag, value, "1e-30 to 1e6");
}

absl::Status CheckPenalty(const char* flag, double value) {
  return value >= 0 && value <= 1e6 ? absl::OkStatus() : Refuse(flag, value, "0 to 1e6");
}

absl::StatusOr<AdamParameters> CheckedAdam(const v1::OptimizerConfig& config) {
  RETURN_IF_ERROR(CheckFraction("beta1", config.beta1()));
  RETURN_IF_ERROR(CheckFraction("beta2", config.beta2()));
  RETURN_IF_ERROR(CheckDivisor("epsilon", config.epsilon()));
  return AdamParameters{config.beta1(), config.beta2(), config.epsilon()};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const v1::OptimizerConfig& config) {
  RETURN_IF_ERROR(CheckPenalty("weight_decay", config.weight_decay()));
  switch (config.kind()) {
    case v1::OptimizerConfig::SGD:
      return std::make_unique<Sgd>();
    case v1::OptimizerConfig::MOMENTUM:
      RETURN_IF_ERROR(CheckFraction("momentum", config.momentum()));
      if (config.nesterov() && config.momentum() == 0) return Refuse("momentum", 0, "above 0 with --nesterov");
      return std::make_unique<Momentum>(config.momentum(), config.nesterov());
    case v1::OptimizerConfig::ADAGRAD:
      RETURN_IF_ERROR(CheckDivisor("epsilon", config.epsilon()));
      return std::make_unique<Adagrad>(config.epsilon());
    case v1::OptimizerConfig::RMSPROP:
      RETURN_IF_ERROR(CheckFraction("rho", config.rho()));
      RETURN_IF_ERROR(CheckDivisor("epsilon", config.epsilon()));
      return std::make_unique<Rmsprop>(config.rho(), config.epsilon());
    case v1::OptimizerConfig::ADAM: {
      ASSIGN_OR_RETURN(const AdamParameters parameters, CheckedAdam(config));
      return std::make_unique<Adam>(parameters);
    }
    case v1::OptimizerConfig::ADAMW: {
      ASSIGN_OR_RETURN(const AdamParameters parameters, CheckedAdam(config));
      return std::make_unique<AdamW>(parameters);
    }
    case v1::OptimizerConfig::FTRL:
      RETURN_IF_ERROR(CheckPenalty("l1", config.l1()));
      RETURN_IF_ERROR(CheckPenalty("l2", config.l2()));
      RETURN_IF_ERROR(CheckDivisor("beta", config.beta()));
      return std::make_unique<Ftrl>(FtrlParameters{config.l1(), config.l2(), config.beta()});
    default:
      return Refuse("optimizer", config.kind(),
                    "0 (sgd), 1 (momentum), 2 (adagrad), 3 (rmsprop), 4 (adam), 5 (adamw), 6 (ftrl)");
  }
}

}  // namespace leeway
