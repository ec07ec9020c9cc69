#include "cli/run_options.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "common/flags.h"
#include "tests/catch.h"

// Stand for the worker's: what counts is the folder of the file that defines them.
ABSL_FLAG(int, own_batch, 64, "a flag of this folder");
ABSL_FLAG(bool, own_switch, false, "a flag of this folder");

namespace leeway {
namespace {

constexpr char kFolder[] = "tests/cli/";
using Words = std::vector<std::string>;

TEST_CASE("flags that were given are handed on with their values, those of other folders are not") {
  absl::FlagSaver saver;
  CHECK(GivenFlagsOf(kFolder).empty());
  REQUIRE(SetFlags({"--own_switch", "--num_ps=2"}, {"LEEWAY_OWN_BATCH=64"}, nullptr).ok());
  CHECK(GivenFlagsOf(kFolder) == Words{"--own_batch=64", "--own_switch=true"});
  CHECK(GivenFlagsOf("cli/") == Words{"--num_ps=2"});
}

TEST_CASE("flags of single workers") {
  const auto special = ParseSpecialFlags("1:--own_batch=32 --own_switch=true; eval:--own_batch=7", 2, kFolder);
  REQUIRE(special.ok());
  REQUIRE(special->size() == 2);
  CHECK(special->at("worker-1") == Words{"--own_batch=32", "--own_switch=true"});
  CHECK(special->at("eval") == Words{"--own_batch=7"});
  CHECK(absl::GetFlag(FLAGS_own_batch) == 64);
  CHECK(ParseSpecialFlags("", 2, kFolder)->empty());
}

TEST_CASE("flags of single workers that cannot work are refused before anything starts") {
  for (const char* wrong : {"2:--own_batch=1", "-1:--own_batch=1", "x:--own_batch=1", "--own_batch=1", "0:own_batch=1",
                            "0:--own_batch", "0:--own_batch=x", "0:--no_such=1", "0:--num_ps=2"}) {
    INFO(wrong);
    CHECK(ParseSpecialFlags(wrong, 2, kFolder).status().code() == absl::StatusCode::kInvalidArgument);
  }
  CHECK(ParseSpecialFlags("0:--own_batch=x", 2, kFolder).status().message() ==
        "--own_batch=x: allowed: a whole number between -2147483648 and 2147483647");
}

TEST_CASE("flags of single workers are the worker's, but not those that leeway run sets itself") {
  CHECK(ParseSpecialFlags("0:--batch=32", 1, "worker/").ok());
  CHECK(ParseSpecialFlags("0:--http_port=0", 1, "worker/").ok());
  CHECK_FALSE(ParseSpecialFlags("0:--http_port_file=x", 1, "worker/").ok());
  CHECK_FALSE(ParseSpecialFlags("0:--name=x", 1, "worker/").ok());
  CHECK_FALSE(ParseSpecialFlags("0:--batch=many", 1, "worker/").ok());
}

TEST_CASE("the command lines of a cluster") {
  RunOptions options;
  options.num_ps = 2;
  options.num_workers = 3;
  options.directory = "runs/x";
  options.ps_binary = "bin/ps";
  options.worker_binary = "bin/worker";
  options.ps_flags = {"--staleness_bound=3"};
  options.worker_flags = {"--model=cnn"};
  options.special_flags["worker-2"] = {"--batch=32"};
  const Words ps0 = {"bin/ps",         "--listen=127.0.0.1:0", "--port_file=runs/x/ps-0.port", "--shard_index=0",
                     "--num_shards=2", "--num_evaluators=1",   "--staleness_bound=3"};
  CHECK(PsCommand(options, 0, "") == ps0);
  const Words ps1 = PsCommand(options, 1, "127.0.0.1:99");
  CHECK(std::count(ps1.begin(), ps1.end(), "--coordinator=127.0.0.1:99") == 1);
  const Words worker = {
      "bin/worker", "--coordinator=127.0.0.1:99", "--name=worker-2", "--role=train", "--rank=2", "--model=cnn",
      "--batch=32"};
  CHECK(WorkerCommand(options, 2, "127.0.0.1:99") == worker);
  const Words evaluator = {"bin/worker",
                           "--coordinator=127.0.0.1:99",
                           "--name=eval",
                           "--role=eval",
                           "--best_weights=runs/x/best.safetensors",
                           "--final_weights=runs/x/final.safetensors",
                           "--model=cnn"};
  CHECK(EvaluatorCommand(options, "127.0.0.1:99") == evaluator);
}

TEST_CASE("the status page is ps-0's") {
  absl::FlagSaver saver;
  const Words programs = {"--ps_binary=/bin/sh", "--worker_binary=/bin/sh", "--data=synthetic:100"};
  REQUIRE(SetFlags(programs, {}, nullptr).ok());
  const auto without = RunOptionsFromFlags();
  REQUIRE(without.ok());
  for (const std::string& word : PsCommand(*without, 0, "")) CHECK_FALSE(absl::StartsWith(word, "--http"));
  REQUIRE(SetFlags({"--http_port=0", "--out=runs/y"}, {}, nullptr).ok());
  const auto options = RunOptionsFromFlags();
  REQUIRE(options.ok());
  const Words ps0 = PsCommand(*options, 0, "");
  CHECK(std::count(ps0.begin(), ps0.end(), "--http_port=0") == 1);
  CHECK(std::count(ps0.begin(), ps0.end(), "--http_port_file=runs/y/ps-0.http") == 1);
  for (const std::string& word : PsCommand(*options, 1, "127.0.0.1:99")) CHECK_FALSE(absl::StartsWith(word, "--http"));
  REQUIRE(SetFlags({"--http_port=70000"}, {}, nullptr).ok());
  CHECK(absl::StartsWith(RunOptionsFromFlags().status().message(), "--http_port=70000: allowed: -1"));
}

TEST_CASE("the policy is checked before anything starts, and handed to the ps") {
  absl::FlagSaver saver;
  const Words programs = {"--ps_binary=/bin/sh", "--worker_binary=/bin/sh", "--data=synthetic:100"};
  REQUIRE(SetFlags(programs, {}, nullptr).ok());
  REQUIRE(SetFlags({"--num_workers=3", "--epochs=2", "--straggle=2:4", "--ps_flags=--lease=2s"}, {}, nullptr).ok());
  const auto options = RunOptionsFromFlags();
  REQUIRE(options.ok());
  CHECK(options->num_workers == 3);
  CHECK(std::count(options->ps_flags.begin(), options->ps_flags.end(), "--epochs=2") == 1);
  CHECK(std::count(options->ps_flags.begin(), options->ps_flags.end(), "--lease=2s") == 1);
  CHECK(options->special_flags.at("worker-2") == Words{"--straggle_factor=4"});
  REQUIRE(SetFlags({"--aggregation=round"}, {}, nullptr).ok());
  CHECK(RunOptionsFromFlags()->worker_flags.back() == "--pipeline_depth=0");
  REQUIRE(SetFlags({"--aggregation=round", "--staleness_bound=3"}, {}, nullptr).ok());
  CHECK(absl::StartsWith(RunOptionsFromFlags().status().message(), "--staleness_bound=3: allowed: 0 with"));
}

TEST_CASE("worker flags are checked before anything starts") {
  absl::FlagSaver saver;
  CHECK(absl::StartsWith(RunOptionsFromFlags().status().message(), "--data=: allowed: "));
  REQUIRE(SetFlags({"--data=synthetic:100", "--batch=0"}, {}, nullptr).ok());
  CHECK(RunOptionsFromFlags().status().message() == "--batch=0: allowed: 1 to 65536 samples");
}

TEST_CASE("what a worker would refuse is refused before anything starts") {
  const std::pair<Words, std::string> cases[] = {
      {{"--model=resnet"}, "--model=resnet: allowed are softmax, mlp[:hidden,...], cnn"},
      {{"--device=tpu"}, "--device=tpu: allowed are auto, cpu and cuda:N"},
      {{"--data=parquet:x"}, "data 'parquet:x': the kind 'parquet' is unknown"},
      {{"--data=/no/such"}, "/no/such: is no directory"},
      {{"--data=csv:/dev/null"}, "/dev/null: "},
      {{"--init_from=/no/such"}, "--init_from=/no/such: allowed: a file that can be read"},
      {{"--worker_flags=0:--model=resnet"}, "--model=resnet: allowed are"},
      {{"--worker_flags=eval:--data=/no/such"}, "/no/such: is no directory"},
      {{"--worker_flags=0:--batch=0"}, "--batch=0: allowed: 1 to 65536 samples"},
  };
  for (const auto& [flags, expected] : cases) {
    absl::FlagSaver saver;
    REQUIRE(SetFlags({"--data=synthetic:100", "--ps_binary=/bin/sh", "--worker_binary=/bin/sh"}, {}, nullptr).ok());
    REQUIRE(RunOptionsFromFlags().ok());
    REQUIRE(SetFlags(flags, {}, nullptr).ok());
    CHECK_THAT(std::string(RunOptionsFromFlags().status().message()), Catch::StartsWith(expected));
  }
}

TEST_CASE("flags of single workers are checked without being given to all") {
  absl::FlagSaver saver;
  REQUIRE(SetFlags({"--data=synthetic:100", "--ps_binary=/bin/sh", "--worker_binary=/bin/sh",
                    "--worker_flags=0:--model=softmax --accumulate=3"},
                   {}, nullptr)
              .ok());
  const auto options = RunOptionsFromFlags();
  REQUIRE(options.ok());
  CHECK(options->special_flags.at("worker-0") == Words{"--model=softmax", "--accumulate=3"});
  CHECK(std::count(options->worker_flags.begin(), options->worker_flags.end(), "--accumulate=3") == 0);
  CHECK(RunOptionsFromFlags()->worker_flags == options->worker_flags);
}

TEST_CASE("encodings are handed to the workers; what the coordinator would refuse is refused before anything starts") {
  absl::FlagSaver saver;
  REQUIRE(SetFlags({"--ps_binary=/bin/sh", "--worker_binary=/bin/sh", "--data=synthetic:100"}, {}, nullptr).ok());
  REQUIRE(
      SetFlags({"--push_encoding=top_k:0.01", "--momentum_correction=0.9", "--pull_encoding=delta"}, {}, nullptr).ok());
  const auto options = RunOptionsFromFlags();
  REQUIRE(options.ok());
  for (const char* word : {"--push_encoding=top_k:0.01", "--momentum_correction=0.9", "--pull_encoding=delta"}) {
    CHECK(std::count(options->worker_flags.begin(), options->worker_flags.end(), word) == 1);
  }
  REQUIRE(SetFlags({"--optimizer=momentum"}, {}, nullptr).ok());
  CHECK(absl::StartsWith(RunOptionsFromFlags().status().message(), "--momentum_correction=0.9: allowed: 0 with"));
  REQUIRE(SetFlags({"--optimizer=sgd", "--aggregation=round", "--staleness_bound=0"}, {}, nullptr).ok());
  CHECK(absl::StartsWith(RunOptionsFromFlags().status().message(), "--pull_encoding=delta: allowed: f32 or bf16"));
}

TEST_CASE("a ps is started again only where it finds something to go on from") {
  absl::FlagSaver saver;
  REQUIRE(SetFlags({"--data=synthetic:100", "--ps_binary=/bin/sh", "--worker_binary=/bin/sh", "--restart_ps",
                    "--ps_flags=--lease=2s"},
                   {}, nullptr)
              .ok());
  CHECK(absl::StartsWith(RunOptionsFromFlags().status().message(),
                         "--restart_ps=true: allowed: with a --checkpoint_dir"));
  REQUIRE(SetFlags({"--ps_flags=--lease=2s --checkpoint_dir=/tmp/x"}, {}, nullptr).ok());
  CHECK(RunOptionsFromFlags()->restart_ps);
}

TEST_CASE("what only an evaluator would read is refused where there is none") {
  const Words base = {"--data=synthetic:100", "--ps_binary=/bin/sh", "--worker_binary=/bin/sh"};
  for (const std::string flag : {"--target_metric=loss:0.5", "--eval_every_epochs=2", "--eval_every_seconds=1",
                                 "--best_weights=b", "--final_weights=f", "--worker_flags=eval:--threads=2"}) {
    for (const bool eval : {true, false}) {
      INFO(flag << eval);
      ForgetFlags();
      Words words = base;
      words.insert(words.end(), {flag, absl::StrCat("--eval=", eval ? "true" : "false")});
      REQUIRE(SetFlags(words, {}, nullptr).ok());
      const absl::Status status = RunOptionsFromFlags().status();
      CHECK(status.ok() == eval);
      if (!eval)
        CHECK_THAT(std::string(status.message()),
                   Catch::StartsWith(absl::StrCat(flag, ": allowed: ")) && Catch::Contains("--eval=true"));
    }
  }
  ForgetFlags();
}

TEST_CASE("the policy's flags are leeway run's own, and not for --ps_flags behind its back") {
  for (const std::string word : {"--num_workers=2", "--aggregation=round", "--epochs=5"}) {
    ForgetFlags();
    REQUIRE(SetFlags({"--data=synthetic:100", "--ps_binary=/bin/sh", "--worker_binary=/bin/sh",
                      absl::StrCat("--ps_flags=--lease=2s ", word)},
                     {}, nullptr)
                .ok());
    CHECK_THAT(
        std::string(RunOptionsFromFlags().status().message()),
        Catch::StartsWith(absl::StrCat("--ps_flags=", word, ": allowed: ")) && Catch::Contains("one of its own"));
  }
  ForgetFlags();
}

TEST_CASE("a target without evaluations would never be reached") {
  ForgetFlags();
  REQUIRE(SetFlags({"--data=synthetic:100", "--ps_binary=/bin/sh", "--worker_binary=/bin/sh", "--eval_every_epochs=0"},
                   {}, nullptr)
              .ok());
  CHECK(RunOptionsFromFlags().ok());
  REQUIRE(SetFlags({"--target_metric=loss:0.5"}, {}, nullptr).ok());
  CHECK(absl::StartsWith(RunOptionsFromFlags().status().message(), "--eval_every_epochs=0: allowed: above 0 with --t"));
  REQUIRE(SetFlags({"--eval_every_seconds=1"}, {}, nullptr).ok());
  CHECK(RunOptionsFromFlags().ok());
  ForgetFlags();
}

TEST_CASE("a ps that goes at once would not say how the run has ended") {
  for (const std::string linger : {"0s", "0", "500ms", "1s", "inf"}) {
    ForgetFlags();
    REQUIRE(SetFlags({"--data=synthetic:100", "--ps_binary=/bin/sh", "--worker_binary=/bin/sh",
                      absl::StrCat("--ps_flags=--lease=2s --linger=", linger)},
                     {}, nullptr)
                .ok());
    const absl::Status status = RunOptionsFromFlags().status();
    INFO(linger << " " << status.message());
    CHECK(status.ok() == (linger == "1s" || linger == "inf"));
    if (!status.ok()) CHECK(absl::StartsWith(status.message(), absl::StrCat("--ps_flags=--linger=", linger, ": ")));
  }
  ForgetFlags();
}

TEST_CASE("what leeway run sets itself cannot be given") {
  absl::FlagSaver saver;
  REQUIRE(SetFlags({"--name=x", "--data=synthetic:100", "--ps_binary=/bin/sh", "--worker_binary=/bin/sh"}, {}, nullptr)
              .ok());
  CHECK(RunOptionsFromFlags().status().message() == "--name=x: allowed: nothing: leeway run sets this flag itself");
}

}  // namespace
}  // namespace leeway
