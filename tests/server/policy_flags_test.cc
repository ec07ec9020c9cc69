#include "server/policy_flags.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/flags.h"
#include "tests/catch.h"

namespace leeway {
namespace {

using Words = std::vector<std::string>;

absl::StatusOr<v1::Policy> PolicyOf(const Words& words) {
  ForgetFlags();
  const auto positional = SetFlags(words, {}, nullptr);
  if (!positional.ok()) return positional.status();
  return PolicyFromFlags();
}

TEST_CASE("policy flags: the defaults are a policy") {
  const auto policy = PolicyOf({});
  REQUIRE(policy.ok());
  CHECK(policy->number() > 0);
  CHECK(policy->staleness_bound() == 8);
  CHECK(policy->aggregation() == v1::EACH);
  CHECK(policy->data_sharing() == v1::LEASED);
  CHECK(policy->max_delay() == -1);
  CHECK(policy->quarantine_after() == 10);
  REQUIRE(policy->groups().size() == 1);
  CHECK(policy->groups(0).group() == "bias");
  CHECK(policy->groups(0).weight_decay_factor() == 0);
  CHECK(policy->groups(0).rate_factor() == 1);
}

TEST_CASE("policy flags: what one flag implies for others") {
  const auto round = PolicyOf({"--aggregation=round", "--num_workers=3", "--round_quorum=2"});
  REQUIRE(round.ok());
  CHECK(round->staleness_bound() == 0);
  CHECK(round->data_sharing() == v1::STATIC);
  CHECK(round->round_quorum() == 2);
}

TEST_CASE("policy flags: a max_delay that grows") {
  const auto policy = PolicyOf({"--max_delay=sqrt"});
  REQUIRE(policy.ok());
  CHECK(policy->max_delay() == 1);
  CHECK(policy->max_delay_sqrt());
}

TEST_CASE("policy flags: clipping needs whole gradients") {
  const auto policy = PolicyOf({"--clip_norm=1.5"});
  REQUIRE(policy.ok());
  CHECK(policy->push_atomicity() == v1::WHOLE);
}

TEST_CASE("policy flags: values arrive where they belong") {
  const auto policy = PolicyOf({"--staleness_bound=-1",
                                "--max_delay=16",
                                "--delay_policy=scale",
                                "--optimizer=adamw",
                                "--weight_decay=0.1",
                                "--beta1=0.8",
                                "--schedule=cosine",
                                "--learning_rate=0.25",
                                "--schedule_total_samples=1000",
                                "--warmup_samples=100",
                                "--group_rate=bias:2,embed:0.5",
                                "--target_metric=accuracy:0.9",
                                "--patience=3",
                                "--epochs=4",
                                "--steps=5",
                                "--minutes=6",
                                "--seed=7",
                                "--num_workers=8",
                                "--lease_records=9",
                                "--quarantine_after=5",
                                "--data_sharing=leased"});
  REQUIRE(policy.ok());
  CHECK(policy->staleness_bound() == -1);
  CHECK(policy->max_delay() == 16);
  CHECK(policy->delay_policy() == v1::SCALE);
  CHECK(policy->optimizer().kind() == v1::OptimizerConfig::ADAMW);
  CHECK(policy->optimizer().weight_decay() == 0.1);
  CHECK(policy->optimizer().beta1() == 0.8);
  CHECK(policy->schedule().kind() == v1::ScheduleConfig::COSINE);
  CHECK(policy->schedule().rate() == 0.25);
  CHECK(policy->schedule().warmup_samples() == 100);
  REQUIRE(policy->groups().size() == 2);
  CHECK(policy->groups(0).group() == "bias");
  CHECK(policy->groups(0).rate_factor() == 2);
  CHECK(policy->groups(0).weight_decay_factor() == 0);
  CHECK(policy->groups(1).group() == "embed");
  CHECK(policy->groups(1).weight_decay_factor() == 1);
  CHECK(policy->stop().target_metric() == "accuracy");
  CHECK(policy->stop().target_value() == 0.9);
  CHECK(policy->stop().patience() == 3);
  CHECK(policy->stop().epochs() == 4);
  CHECK(policy->stop().steps() == 5);
  CHECK(policy->stop().minutes() == 6);
  CHECK(policy->seed() == 7);
  CHECK(policy->num_workers() == 8);
  CHECK(policy->lease_records() == 9);
  CHECK(policy->quarantine_after() == 5);
  CHECK(policy->data_sharing() == v1::LEASED);
  CHECK(PolicyOf({"--data_sharing=static"})->data_sharing() == v1::STATIC);
}

TEST_CASE("policy flags: ftrl's own, which no other policy has") {
  const auto ftrl = PolicyOf({"--optimizer=ftrl", "--l1=0.5", "--l2=2"});
  REQUIRE(ftrl.ok());
  CHECK(ftrl->optimizer().kind() == v1::OptimizerConfig::FTRL);
  CHECK(ftrl->optimizer().l1() == 0.5);
  CHECK(ftrl->optimizer().l2() == 2);
  CHECK(ftrl->optimizer().beta() == 1);
  // A cluster that was started by an older version goes on with the flags that it had.
  const auto sgd = PolicyOf({"--optimizer=sgd"});
  REQUIRE(sgd.ok());
  CHECK(sgd->optimizer().beta() == 0);
}

TEST_CASE("policy flags: dc's own, which no other policy has") {
  const auto dc = PolicyOf({"--delay_policy=dc"});
  REQUIRE(dc.ok());
  CHECK(dc->dc_lambda() == 0.04);
  CHECK(PolicyOf({"--delay_policy=dc", "--dc_lambda=2", "--max_delay=8"})->dc_lambda() == 2);
}

TEST_CASE("policy flags: a default takes back what a flag file says") {
  const Words file = {"--schedule=cosine", "--schedule_total_samples=1000", "--optimizer=adam", "--beta1=0.8"};
  Words words = file;
  words.insert(words.end(), {"--schedule=constant", "--optimizer=sgd"});
  CHECK_FALSE(PolicyOf(words).ok());
  words.insert(words.end(), {"--schedule_total_samples=0", "--beta1=0.9"});
  CHECK(PolicyOf(words).ok());
}

struct Refused {
  Words words;
  std::string flag_and_value;
  std::string allowed;
};

TEST_CASE("policy flags: every contradiction is one line with the flag, its value and what is allowed") {
  const std::vector<Refused> cases = {
      {{"--staleness_bound=-2"}, "--staleness_bound=-2", "-1, 0 and above"},
      {{"--aggregation=round", "--staleness_bound=3"}, "--staleness_bound=3", "0 with --aggregation=round"},
      {{"--aggregation=round", "--staleness_bound=0", "--data_sharing=leased"}, "--data_sharing=leased", "static"},
      {{"--aggregation=sum"}, "--aggregation=sum", "each, round"},
      {{"--data_sharing=shared"}, "--data_sharing=shared", "static, leased"},
      {{"--round_quorum=1"}, "--round_quorum=1", "0 without --aggregation=round"},
      {{"--aggregation=round", "--staleness_bound=0", "--num_workers=2", "--round_quorum=3"},
       "--round_quorum=3",
       "0 to --num_workers=2"},
      {{"--num_workers=0"}, "--num_workers=0", "1 to 4096"},
      {{"--num_workers=5000"}, "--num_workers=5000", "1 to 4096"},
      {{"--max_delay=0"}, "--max_delay=0", "1 and above"},
      {{"--max_delay=-7"}, "--max_delay=-7", "-1, 1 and above"},
      {{"--max_delay=root"}, "--max_delay=root", "or sqrt"},
      {{"--aggregation=round", "--staleness_bound=0", "--max_delay=4"}, "--aggregation=round", "each with --max_delay"},
      {{"--aggregation=round", "--staleness_bound=0", "--delay_policy=scale"}, "--aggregation=round", "--delay_policy"},
      {{"--aggregation=round", "--staleness_bound=0", "--delay_policy=dc"}, "--aggregation=round", "--delay_policy"},
      {{"--delay_policy=square"}, "--delay_policy=square", "apply, scale, dc"},
      {{"--delay_policy=dc", "--dc_lambda=0"}, "--dc_lambda=0", "above 0"},
      {{"--delay_policy=dc", "--dc_lambda=nan"}, "--dc_lambda=nan", "above 0"},
      {{"--delay_policy=dc", "--dc_lambda=2e6"}, "--dc_lambda=", "at most 1e6"},
      {{"--delay_policy=scale", "--dc_lambda=1"}, "--dc_lambda=1", "--delay_policy=dc"},
      {{"--clip_norm=-1"}, "--clip_norm=-1", "0 and above"},
      {{"--clip_norm=nan"}, "--clip_norm=nan", "0 and above"},
      {{"--clip_norm=inf"}, "--clip_norm=inf", "0 and above"},
      {{"--clip_norm=1", "--push_atomicity=stream"}, "--push_atomicity=stream", "whole with --clip_norm"},
      {{"--minutes=-1"}, "--minutes=-1", "0 and above"},
      {{"--minutes=nan"}, "--minutes=nan", "0 and above"},
      {{"--patience=2"}, "--patience=2", "0 without --target_metric"},
      {{"--target_metric=f1:0.9"}, "--target_metric=f1:0.9", "accuracy[:V] or loss[:V]"},
      {{"--target_metric=loss:-1"}, "--target_metric=loss:-1", "0 or above"},
      {{"--target_metric=loss:x"}, "--target_metric=loss:x", "loss[:V]"},
      {{"--target_metric=accuracy"}, "--target_metric=accuracy", "--patience"},
      {{"--group_rate=bias:-1"}, "--group_rate=bias:-1", "0 and above"},
      {{"--group_decay=bias:-0.5"}, "--group_decay=bias:-0.5", "0 and above"},
      {{"--group_rate=bias"}, "--group_rate=bias", ""},
      {{"--optimizer=sgdm"}, "--optimizer=sgdm", "momentum"},
      {{"--optimizer=adam", "--beta1=1"}, "beta1", ""},
      {{"--optimizer=momentum", "--momentum=1.5"}, "momentum", ""},
      {{"--optimizer=ftrl", "--beta=0"}, "--beta=0: ", "1e-30 to 1e6"},
      {{"--optimizer=ftrl", "--l1=-1"}, "--l1=-1: ", "0 to 1e6"},
      {{"--optimizer=ftrl", "--l2=nan"}, "--l2=nan: ", "0 to 1e6"},
      {{"--l1=0.5"}, "--l1=0.5", "only with --optimizer=ftrl"},
      {{"--optimizer=adagrad", "--l2=0.5"}, "--l2=0.5", "only with --optimizer=ftrl"},
      {{"--momentum=0.8"}, "--momentum=0.8", "only with --optimizer=momentum"},
      {{"--momentum=0.9"}, "--momentum=0.9", "only with --optimizer=momentum"},  // the default
      {{"--optimizer=adam", "--nesterov"}, "--nesterov=true", "only with --optimizer=momentum"},
      {{"--optimizer=rmsprop", "--beta1=0.8"}, "--beta1=0.8", "only with --optimizer=adam or adamw"},
      {{"--optimizer=momentum", "--beta2=0.99"}, "--beta2=0.99", "only with --optimizer=adam or adamw"},
      {{"--optimizer=adagrad", "--rho=0.9"}, "--rho=0.9", "only with --optimizer=rmsprop"},
      {{"--optimizer=ftrl", "--epsilon=0.1"}, "--epsilon=0.1", "only with --optimizer=adagrad, rmsprop, adam or adamw"},
      {{"--optimizer=adagrad", "--beta=2"}, "--beta=2", "only with --optimizer=ftrl"},
      {{"--schedule_step_samples=100"}, "--schedule_step_samples=100", "only with --schedule=step"},
      {{"--schedule_gamma=0.5"}, "--schedule_gamma=0.5", "only with --schedule=step"},
      {{"--schedule_total_samples=100"}, "--schedule_total_samples=100", "only with --schedule=cosine"},
      {{"--schedule=step", "--schedule_step_samples=9", "--final_learning_rate=0.1"},
       "--final_learning_rate=0.1",
       "only with --schedule=cosine"},
      {{"--data_sharing=static", "--lease_records=9"}, "--lease_records=9", "only with --data_sharing=leased"},
      {{"--aggregation=round", "--lease_records=9"}, "--lease_records=9", "only with --data_sharing=leased"},
      {{"--weight_decay=-1"}, "--weight_decay=-1: ", "0 to 1e6"},
      {{"--learning_rate=nan"}, "--learning_rate=nan: ", "above 0"},
      {{"--schedule=step"}, "--schedule_step_samples=0: ", "1 and above"},
      {{"--schedule=cosine"}, "--schedule_total_samples=0: ", "above --warmup_samples=0"},
  };
  for (const Refused& refused : cases) {
    const auto policy = PolicyOf(refused.words);
    CAPTURE(refused.words, policy.status().message());
    CHECK(absl::IsInvalidArgument(policy.status()));
    const std::string message(policy.status().message());
    CHECK(absl::StrContains(message, refused.flag_and_value));
    CHECK(absl::StrContains(message, refused.allowed));
    CHECK(message.find('\n') == std::string::npos);
  }
}

}  // namespace
}  // namespace leeway
