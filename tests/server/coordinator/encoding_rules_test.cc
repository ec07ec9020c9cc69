#include "server/coordinator/encoding_rules.h"

#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;
using Optimizer = v1::OptimizerConfig;

v1::JoinRequest JoinWith(int push, int pull, bool momentum_correction = false) {
  v1::JoinRequest join;
  join.set_push_encoding(static_cast<v1::Encoding>(push));
  join.set_pull_encoding(static_cast<v1::Encoding>(pull));
  join.set_momentum_correction(momentum_correction);
  return join;
}

v1::Policy PolicyWith(v1::Aggregation aggregation, Optimizer::Kind kind = Optimizer::SGD, double momentum = 0) {
  v1::Policy policy;
  policy.set_aggregation(aggregation);
  policy.mutable_optimizer()->set_kind(kind);
  policy.mutable_optimizer()->set_momentum(momentum);
  return policy;
}

TEST_CASE("CheckEncodings: every encoding for pushes, all but TOP_K for pulls, differences with `each` only") {
  for (int push = 0; push < 4; ++push) {
    for (int pull = 0; pull < 3; ++pull) {
      CHECK(CheckEncodings(JoinWith(push, pull), PolicyWith(v1::EACH)).ok());
      CHECK(CheckEncodings(JoinWith(push, pull), PolicyWith(v1::ROUND)).ok() == (pull != v1::INT8));
    }
  }
  CHECK(Says(CheckEncodings(JoinWith(0, 2), PolicyWith(v1::ROUND)), Code::kFailedPrecondition,
             {"--pull_encoding=delta (INT8)", "--aggregation=round"}));
}

TEST_CASE("CheckEncodings: values that are none") {
  const v1::Policy policy = PolicyWith(v1::EACH);
  CHECK(Says(CheckEncodings(JoinWith(9, 0), policy), Code::kInvalidArgument, {"push_encoding is 9", "3 (TOP_K)"}));
  CHECK(Says(CheckEncodings(JoinWith(-1, 0), policy), Code::kInvalidArgument, {"push_encoding is -1"}));
  CHECK(Says(CheckEncodings(JoinWith(0, 4), policy), Code::kInvalidArgument, {"pull_encoding is 4"}));
  CHECK(Says(CheckEncodings(JoinWith(0, 3), policy), Code::kInvalidArgument, {"pull_encoding is 3", "2 (INT8)"}));
}

TEST_CASE("CheckEncodings: momentum correction and an optimizer with momentum exclude each other") {
  const auto check = [](Optimizer::Kind kind, double momentum, bool correction = true) {
    return CheckEncodings(JoinWith(v1::TOP_K, 0, correction), PolicyWith(v1::EACH, kind, momentum));
  };
  for (const Optimizer::Kind kind : {Optimizer::SGD, Optimizer::ADAGRAD, Optimizer::RMSPROP, Optimizer::FTRL}) {
    CHECK(check(kind, 0.9).ok());  // the value is momentum's alone
  }
  CHECK(check(Optimizer::MOMENTUM, 0).ok());
  CHECK(check(Optimizer::MOMENTUM, 0.9, false).ok());
  CHECK(check(Optimizer::ADAM, 0, false).ok());
  CHECK(Says(check(Optimizer::MOMENTUM, 0.9), Code::kFailedPrecondition, {"--momentum_correction", "--momentum=0.9"}));
  CHECK(Says(check(Optimizer::ADAM, 0), Code::kFailedPrecondition, {"--optimizer=adam "}));
  CHECK(Says(check(Optimizer::ADAMW, 0), Code::kFailedPrecondition, {"--optimizer=adamw "}));
}

}  // namespace
}  // namespace leeway
