#include "kernels/optimizers/make_optimizer.h"

#include <cmath>
#include <string>

#include "tests/catch.h"

namespace leeway {
namespace {

v1::OptimizerConfig Good(v1::OptimizerConfig::Kind kind) {
  v1::OptimizerConfig config;
  config.set_kind(kind);
  config.set_momentum(0.9);
  config.set_beta1(0.9);
  config.set_beta2(0.999);
  config.set_rho(0.99);
  config.set_epsilon(1e-8);
  config.set_weight_decay(1e-4);
  config.set_l1(0.5);
  config.set_l2(2);
  config.set_beta(1);
  return config;
}

// The weight after one step from 1 with gradient 2, rate 0.125 and fresh slots.
float FirstStep(const v1::OptimizerConfig& config) {
  const auto optimizer = MakeOptimizer(config);
  REQUIRE(optimizer.ok());
  float weight = 1, gradient = 2, a = (*optimizer)->slot_initial_value(0), b = (*optimizer)->slot_initial_value(1);
  float* const slots[] = {&a, &b};
  (*optimizer)->Step({&weight, &gradient, slots, 1, 0.125, 0, 1, 1});
  return weight;
}

std::string Refusal(const v1::OptimizerConfig& config) {
  const auto optimizer = MakeOptimizer(config);
  REQUIRE(!optimizer.ok());
  CHECK(optimizer.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(optimizer.status().message());
}

TEST_CASE("MakeOptimizer: each kind is itself, with its slots") {
  using Config = v1::OptimizerConfig;
  struct Row {
    Config::Kind kind;
    int slots;
    double first_step;
  };
  for (const Row& row : {Row{Config::SGD, 0, 1 - 0.125 * 2}, Row{Config::MOMENTUM, 1, 1 - 0.125 * 2},
                         Row{Config::ADAGRAD, 1, 1 - 0.125}, Row{Config::RMSPROP, 1, 1 - 0.125 * 2 / std::sqrt(0.04)},
                         Row{Config::ADAM, 2, 1 - 0.125}, Row{Config::ADAMW, 2, 1 - 0.125},
                         // Q = (1 + 2) / 0.125 = 24: the least of 2 w + |w| / 2 + w^2 + 12 (w - 1)^2.
                         Row{Config::FTRL, 2, (24 - 2 - 0.5) / (24 + 2)}}) {
    CAPTURE(row.kind);
    const auto optimizer = MakeOptimizer(Good(row.kind));
    REQUIRE(optimizer.ok());
    CHECK((*optimizer)->slots() == row.slots);
    CHECK(FirstStep(Good(row.kind)) == Approx(row.first_step).epsilon(1e-6));
  }
  Config nesterov = Good(Config::MOMENTUM);
  nesterov.set_nesterov(true);
  CHECK(FirstStep(nesterov) == Approx(1 - 0.125 * (2 + 0.9 * 2)).epsilon(1e-6));
}

TEST_CASE("MakeOptimizer: refusals name flag, value and what is allowed") {
  using Config = v1::OptimizerConfig;
  Config config = Good(Config::MOMENTUM);
  config.set_momentum(1);
  CHECK(Refusal(config) == "--momentum=1: allowed: 0 and above, below 1");
  config.set_momentum(0);
  CHECK(MakeOptimizer(config).ok());
  config.set_nesterov(true);
  CHECK(Refusal(config) == "--momentum=0: allowed: above 0 with --nesterov");

  config = Good(Config::ADAM);
  config.set_beta1(-0.1);
  CHECK(Refusal(config) == "--beta1=-0.1: allowed: 0 and above, below 1");
  config = Good(Config::ADAMW);
  config.set_beta2(std::nan(""));
  CHECK(Refusal(config) == "--beta2=nan: allowed: 0 and above, below 1");
  for (const auto kind : {Config::ADAGRAD, Config::RMSPROP, Config::ADAM, Config::ADAMW}) {
    config = Good(kind);
    config.set_epsilon(0);
    CHECK(Refusal(config) == "--epsilon=0: allowed: 1e-30 to 1e6");
  }
  config = Good(Config::FTRL);
  config.set_beta(0);
  CHECK(Refusal(config) == "--beta=0: allowed: 1e-30 to 1e6");
  config = Good(Config::FTRL);
  config.set_l1(-1);
  CHECK(Refusal(config) == "--l1=-1: allowed: 0 to 1e6");
  config = Good(Config::FTRL);
  config.set_l2(2e6);
  CHECK(Refusal(config) == "--l2=2e+06: allowed: 0 to 1e6");
  config = Good(Config::RMSPROP);
  config.set_rho(2);
  CHECK(Refusal(config) == "--rho=2: allowed: 0 and above, below 1");
  config = Good(Config::SGD);
  config.set_weight_decay(-1);
  CHECK(Refusal(config) == "--weight_decay=-1: allowed: 0 to 1e6");
  config = Good(Config::SGD);
  config.set_kind(static_cast<Config::Kind>(17));
  CHECK(Refusal(config).find("--optimizer=17: allowed: 0 (sgd)") == 0);
}

TEST_CASE("MakeOptimizer: fields of other kinds are not looked at") {
  v1::OptimizerConfig config;
  config.set_kind(v1::OptimizerConfig::SGD);
  config.set_beta1(7);
  config.set_epsilon(-1);
  CHECK(MakeOptimizer(config).ok());
}

}  // namespace
}  // namespace leeway
