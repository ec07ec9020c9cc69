#include "worker/worker_flags.h"

#include <string>
#include <vector>

#include "common/flags.h"
#include "tests/catch.h"

namespace leeway {
namespace {

absl::StatusOr<WorkerOptions> With(std::vector<std::string> arguments) {
  std::vector<std::string> all = {"--coordinator=localhost:7000",
                                  "--data=synthetic:100",
                                  "--rank=-1",
                                  "--batch=64",
                                  "--accumulate=1",
                                  "--threads=1",
                                  "--pipeline_depth=1",
                                  "--pace=0s",
                                  "--jitter=0",
                                  "--straggle_factor=1",
                                  "--slow_steps=",
                                  "--start_timeout=60s",
                                  "--give_up_after=10m",
                                  "--eval_every_epochs=1",
                                  "--eval_every_seconds=0",
                                  "--num_shards=0",
                                  "--max_steps=0",
                                  "--preempted_exit_code=0",
                                  "--push_encoding=f32",
                                  "--momentum_correction=0",
                                  "--pull_encoding=f32",
                                  "--role=train",
                                  "--model=cnn",
                                  "--device=auto",
                                  "--tf32=false",
                                  "--name="};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const auto rest = SetFlags(all, {}, nullptr);
  if (!rest.ok()) return rest.status();
  return WorkerOptionsFromFlags(true);
}

TEST_CASE("Good values arrive") {
  const auto options =
      With({"--role=eval", "--name=w7", "--pace=20ms", "--slow_steps=0.05:5", "--straggle_factor=4",
            "--eval_every_seconds=2.5", "--give_up_after=1m", "--max_steps=9", "--preempted_exit_code=143"});
  REQUIRE(options.ok());
  CHECK(options->evaluator);
  CHECK(options->name == "w7");
  CHECK(options->pace.pace == absl::Milliseconds(20));
  CHECK(options->pace.straggle == 4);
  CHECK(options->pace.slow_steps.factor == 5);
  CHECK(options->eval_every_seconds == absl::Milliseconds(2500));
  CHECK(options->max_steps == 9);
  CHECK(options->preempted_exit_code == 143);
}

TEST_CASE("Encodings arrive") {
  const auto plain = With({});
  REQUIRE(plain.ok());
  CHECK(plain->push_encoding.encoding == v1::F32);
  CHECK(plain->pull_encoding == v1::F32);
  const auto options = With({"--push_encoding=top_k:0.01", "--momentum_correction=0.9", "--pull_encoding=delta"});
  REQUIRE(options.ok());
  CHECK(options->push_encoding.encoding == v1::TOP_K);
  CHECK(options->push_encoding.fraction == 0.01);
  CHECK(options->push_encoding.momentum == 0.9);
  CHECK(options->pull_encoding == v1::INT8);
}

TEST_CASE("--tf32 is refused where nothing would heed it") {
  CHECK(With({"--tf32"})->tf32);
  CHECK(With({"--tf32", "--device=cuda:0"}).ok());
  for (const char* other : {"--device=cpu", "--model=gpt:1m"}) {
    const absl::Status status = With({"--tf32", other}).status();
    CHECK(absl::IsInvalidArgument(status));
    CHECK(std::string(status.message()) ==
          "--tf32=true: allowed: false with --device=cpu or --model=gpt: only a GPU's float32 products can be rounded");
  }
}

TEST_CASE("A worker without a name gets one of its host and process") {
  const auto options = With({});
  REQUIRE(options.ok());
  CHECK(options->name.find('-') != std::string::npos);
}

TEST_CASE("Every bad value is one line with the flag, the value and what is allowed") {
  const std::vector<std::string> bad = {
      "--coordinator=nowhere",
      "--coordinator=:80",
      "--coordinator=h:0",
      "--coordinator=h:70000",
      "--coordinator=",
      "--data=",
      "--rank=-2",
      "--role=both",
      "--model=resnet",
      "--model=mlp:0",
      "--device=tpu",
      "--batch=0",
      "--batch=70000",
      "--accumulate=0",
      "--threads=0",
      "--threads=2000",
      "--pipeline_depth=-1",
      "--pipeline_depth=15",
      "--pace=-1s",
      "--pace=inf",
      "--jitter=-0.5",
      "--jitter=nan",
      "--straggle_factor=0.5",
      "--straggle_factor=nan",
      "--slow_steps=2:2",
      "--slow_steps=0.1",
      "--start_timeout=0s",
      "--give_up_after=-5s",
      "--eval_every_epochs=-1",
      "--eval_every_epochs=nan",
      "--eval_every_seconds=-1",
      "--num_shards=-1",
      "--num_shards=5000",
      "--max_steps=-1",
      "--preempted_exit_code=256",
      "--eval_every_seconds=inf",
      "--push_encoding=int4",
      "--push_encoding=top_k:0",
      "--momentum_correction=0.9",  // without top_k
      "--momentum_correction=-0.1",
      "--momentum_correction=1",
      "--momentum_correction=nan",
      "--pull_encoding=int8",
  };
  for (const std::string& argument : bad) {
    INFO(argument);
    const absl::Status status = With({argument}).status();
    REQUIRE(absl::IsInvalidArgument(status));
    const std::string message(status.message());
    CHECK(message.find(argument.substr(0, argument.find('='))) != std::string::npos);
    CHECK(message.find("allowed") != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
  }
}

}  // namespace
}  // namespace leeway
