#include "common/launcher.h"

#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/own_address.h"
#include "common/socket.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Environment = std::map<std::string, std::string>;
constexpr auto kBad = absl::StatusCode::kInvalidArgument;

LauncherTask Read(const Environment& environment) {
  const auto task = ReadLauncherTask(environment);
  INFO(task.status().message());
  REQUIRE(task.ok());
  REQUIRE(task->has_value());
  return **task;
}

std::string TfConfig(const std::string& task) {
  return R"({"cluster": {"chief": ["c:1"], "worker": ["w0:1", "w1:1"], "ps": ["p0:2222", "[fd00::1]:2222"]},
             "environment": "cloud", "task": )" +
         task + "}";
}

TEST_CASE("TF_CONFIG: every task of a cluster") {
  LauncherTask task = Read({{"TF_CONFIG", TfConfig(R"({"type": "ps", "index": 1})")}});
  CHECK(task.role == LauncherRole::kPs);
  CHECK(task.index == 1u);
  CHECK(task.address == "[fd00::1]:2222");
  CHECK(task.coordinator == "p0:2222");
  CHECK(task.num_shards == 2);
  CHECK(task.num_trainers == 3);
  CHECK(task.num_evaluators == 0);
  task = Read({{"TF_CONFIG", TfConfig(R"({"type": "chief", "index": 0})")}});
  CHECK(task.role == LauncherRole::kTrainer);
  CHECK(task.index == 0u);
  CHECK(task.name == "chief-0");
  task = Read({{"TF_CONFIG", TfConfig(R"({"type": "worker", "index": 1})")}});
  CHECK(task.index == 2u);  // behind the chief
  CHECK(task.name == "worker-1");
  CHECK(task.coordinator == "p0:2222");
  task = Read({{"TF_CONFIG", TfConfig(R"({"type": "evaluator", "index": 0})")}});
  CHECK(task.role == LauncherRole::kEvaluator);
  CHECK(task.name == "evaluator-0");
  CHECK_FALSE(task.index);
  // The old name of the chief; an evaluator that the cluster lists is waited for.
  task = Read({{"TF_CONFIG", R"({"cluster": {"master": ["m:1"], "ps": ["p:1"], "evaluator": ["e:1"]},
                                 "task": {"type": "master", "index": 0}})"}});
  CHECK(task.role == LauncherRole::kTrainer);
  CHECK(task.num_trainers == 1);
  CHECK(task.num_evaluators == 1);
}

TEST_CASE("An environment that says nothing about this process") {
  for (const Environment& environment :
       {Environment{}, Environment{{"TF_CONFIG", ""}}, Environment{{"TF_CONFIG", "{}"}},
        Environment{{"TF_CONFIG", R"({"environment": "cloud", "task": {"type": "worker", "index": 0}})"}},
        Environment{{"DMLC_PS_ROOT_URI", "h"}}, Environment{{"DMLC_ROLE", ""}}}) {
    const auto task = ReadLauncherTask(environment);
    REQUIRE(task.ok());
    CHECK_FALSE(task->has_value());
  }
}

TEST_CASE("TF_CONFIG: nonsense is one error that names it") {
  const auto with = [](const std::string& cluster) {
    return R"({"cluster": )" + cluster + R"(, "task": {"type": "ps", "index": 0}})";
  };
  const std::pair<std::string, const char*> cases[] = {
      {"hello", "a JSON object"},
      {"[1]", "a JSON object"},
      {"{\"cluster\": ", "a JSON object"},
      {std::string(10000, '['), "a JSON object"},
      {with("7"), "an object of lists"},
      {with(R"({"ps": {"0": "p:1"}, "worker": ["w:1"]})"), "a list of host:port"},
      {with(R"({"ps": ["p"], "worker": ["w:1"]})"), "host:port"},
      {with(R"({"ps": ["p:0"], "worker": ["w:1"]})"), "port from 1 to 65535"},
      {with(R"({"ps": ["0.0.0.0:1"], "worker": ["w:1"]})"), "host:port"},
      {with(R"({"ps": [17], "worker": ["w:1"]})"), "host:port"},
      {with(R"({"ps": ["p:1", "p:1"], "worker": ["w:1"]})"), "no address twice"},
      {with(R"({"ps": [], "worker": ["w:1"]})"), "cluster has 0 ps"},
      {with(R"({"ps": ["p:1"]})"), "no worker and no chief"},
      {with(R"({"ps": ["p:1"], "chief": ["a:1"], "master": ["b:1"]})"), "a chief and a master"},
      {with(R"({"ps": ["p:1"], "chief": ["a:1", "b:1"]})"), "2 chiefs"},
      {R"({"cluster": {"ps": ["p:1"], "worker": ["w:1"]}})", "{\"type\": \"ps\", \"index\": 0}"},
      {TfConfig("7"), "task '7'"},
      {TfConfig(R"({"type": "ps"})"), "\"index\": 0"},
      {TfConfig(R"({"index": 0})"), "\"index\": 0"},
      {TfConfig(R"({"type": "ps", "index": -1})"), "\"index\": 0"},
      {TfConfig(R"({"type": "ps", "index": 1.0})"), "\"index\": 0"},
      {TfConfig(R"({"type": "ps", "index": "1"})"), "\"index\": 0"},
      {TfConfig(R"({"type": "ps", "index": 2})"), "an index from 0 to 1"},
      {TfConfig(R"({"type": "ps", "index": 18446744073709551615})"), "an index from 0 to 1"},
      {TfConfig(R"({"type": "tpu", "index": 0})"), "a type that the cluster has"},
      {with(R"({"ps": ["p:1"], "worker": ["w:1"], "tpu": ["t:1"]})"), ""},
  };
  for (const auto& [text, words] : cases) {
    CAPTURE(text.substr(0, 200));
    const auto task = ReadLauncherTask({{"TF_CONFIG", text}});
    if (std::string(words).empty()) {
      CHECK(task.ok());  // a type that nobody here is: others may have their own kinds of task
      continue;
    }
    CHECK(Says(task.status(), kBad, {"TF_CONFIG: ", "allowed: ", words}));
    CHECK(task.status().message().size() < 400);
  }
  CHECK(Says(ReadLauncherTask({{"TF_CONFIG", R"({"cluster": {"ps": ["p:1"], "worker": ["w:1"], "tpu": ["t:1"]},
                                                 "task": {"type": "tpu", "index": 0}})"}})
                 .status(),
             kBad, {"the types ps, chief, master, worker and evaluator"}));
}

Environment Dmlc(const std::string& role) {
  return {{"DMLC_ROLE", role},
          {"DMLC_PS_ROOT_URI", "10.0.0.1"},
          {"DMLC_PS_ROOT_PORT", "9091"},
          {"DMLC_NUM_SERVER", "2"},
          {"DMLC_NUM_WORKER", "3"}};
}

Environment With(Environment environment, const std::string& name, const std::string& value) {
  environment[name] = value;
  return environment;
}

TEST_CASE("DMLC: the scheduler is shard 0, servers come behind it") {
  LauncherTask task = Read(Dmlc("scheduler"));
  CHECK(task.role == LauncherRole::kPs);
  CHECK(task.index == 0u);
  CHECK(task.address == "10.0.0.1:9091");
  CHECK(task.coordinator == "10.0.0.1:9091");
  CHECK(task.num_shards == 3);
  CHECK(task.num_trainers == 3);
  task = Read(Dmlc("server"));
  CHECK(task.role == LauncherRole::kPs);
  CHECK_FALSE(task.index);
  CHECK(task.address.empty());
  task = Read(With(With(Dmlc("server"), "DMLC_SERVER_ID", "1"), "DMLC_NODE_HOST", "fd00::7"));
  CHECK(task.index == 2u);
  CHECK(task.address == "[fd00::7]:0");
  CHECK(Read(With(Dmlc("server"), "DMLC_INTERFACE", "eth1")).interface == "eth1");
  task = Read(Dmlc("worker"));
  CHECK(task.role == LauncherRole::kTrainer);
  CHECK(task.name.empty());
  CHECK_FALSE(task.index);
  task = Read(With(Dmlc("worker"), "DMLC_WORKER_ID", "2"));
  CHECK(task.name == "worker-2");
  CHECK(task.index == 2u);
  CHECK(Read(With(Dmlc("worker"), "DMLC_PS_ROOT_URI", "[::1]")).coordinator == "[::1]:9091");
  CHECK(Read(With(Dmlc("scheduler"), "DMLC_NUM_SERVER", "0")).num_shards == 1);
}

TEST_CASE("DMLC: nonsense is one error that names variable, value and what is allowed") {
  const std::pair<Environment, const char*> cases[] = {
      {With(Dmlc("worker"), "DMLC_ROLE", "boss"), "DMLC_ROLE=boss"},
      {With(Dmlc("worker"), "DMLC_ROLE", "Worker\n"), "DMLC_ROLE=Worker\\n"},
      {With(Dmlc("worker"), "DMLC_PS_ROOT_URI", ""), "DMLC_PS_ROOT_URI="},
      {With(Dmlc("worker"), "DMLC_PS_ROOT_URI", "a b"), "DMLC_PS_ROOT_URI=a b"},
      {With(Dmlc("worker"), "DMLC_PS_ROOT_URI", "0.0.0.0"), "DMLC_PS_ROOT_URI=0.0.0.0"},
      {With(Dmlc("worker"), "DMLC_PS_ROOT_PORT", "0"), "1 to 65535"},
      {With(Dmlc("worker"), "DMLC_PS_ROOT_PORT", "http"), "DMLC_PS_ROOT_PORT=http"},
      {With(Dmlc("worker"), "DMLC_PS_ROOT_PORT", "+1"), "DMLC_PS_ROOT_PORT=+1"},
      {With(Dmlc("worker"), "DMLC_NUM_WORKER", "0"), "DMLC_NUM_WORKER=0"},
      {With(Dmlc("worker"), "DMLC_NUM_SERVER", "-1"), "DMLC_NUM_SERVER=-1"},
      {With(Dmlc("worker"), "DMLC_NUM_SERVER", "4096"), "0 to 4095"},
      {With(Dmlc("worker"), "DMLC_WORKER_ID", "3"), "DMLC_WORKER_ID=3"},
      {With(Dmlc("server"), "DMLC_SERVER_ID", "2"), "0 to 1"},
      {With(Dmlc("server"), "DMLC_NUM_SERVER", "0"), "DMLC_NUM_SERVER=0"},
      {With(Dmlc("server"), "DMLC_NODE_HOST", "::"), "DMLC_NODE_HOST=::"},
      {With(Dmlc("server"), "TF_CONFIG", "{}"), "both are set"},
      {{{"DMLC_ROLE", "worker"}}, "DMLC_PS_ROOT_URI="},
  };
  for (const auto& [environment, words] : cases) {
    CAPTURE(words);
    CHECK(Says(ReadLauncherTask(environment).status(), kBad, {"allowed: ", words}));
  }
}

// Whatever stands there: an error, nothing, or a task that can be started.
void CheckAnything(const Environment& environment) {
  const auto task = ReadLauncherTask(environment);
  if (!task.ok()) {
    CHECK(task.status().code() == kBad);
    CHECK(task.status().message().size() < 1000);
    return;
  }
  if (!task->has_value()) return;
  const LauncherTask& read = **task;
  const auto coordinator = SplitAddress(read.coordinator);
  REQUIRE(coordinator.ok());
  CHECK(coordinator->second > 0);
  CHECK((read.num_shards >= 1 && read.num_shards <= 4096));
  CHECK(read.num_trainers >= 1);
  if (read.role == LauncherRole::kPs && read.index) CHECK(*read.index < read.num_shards);
  if (read.role == LauncherRole::kTrainer && read.index) CHECK(*read.index < read.num_trainers);
  if (!read.address.empty()) CHECK(SplitAddress(read.address).ok());
}

TEST_CASE("Random damage to good environments never gives a task that makes no sense") {
  Random random(TestSeed());
  const auto below = [&random](std::size_t count) { return static_cast<std::size_t>(random.Below(count)); };
  const std::string alphabet = "{}[]:,\"0123456789psworkerchief -\\\n\xff";
  for (int round = 0; round < 20000; ++round) {
    const bool tensorflow = below(2) == 0;
    Environment environment;
    if (tensorflow) {
      const char* tasks[] = {R"({"type": "ps", "index": 1})", R"({"type": "worker", "index": 1})",
                             R"({"type": "evaluator", "index": 3})"};
      environment = {{"TF_CONFIG", TfConfig(tasks[below(3)])}};
    } else {
      const char* roles[] = {"scheduler", "server", "worker"};
      environment = With(Dmlc(roles[below(3)]), "DMLC_WORKER_ID", "1");
      environment["DMLC_SERVER_ID"] = "1";
      environment["DMLC_NODE_HOST"] = "10.0.0.2";
    }
    auto it = environment.begin();
    std::advance(it, below(environment.size()));
    std::string& text = it->second;
    for (std::size_t change = 1 + below(3); change > 0 && !text.empty(); --change) {
      const std::size_t at = below(text.size());
      switch (below(3)) {
        case 0:
          text[at] = alphabet[below(alphabet.size())];
          break;
        case 1:
          text.erase(at, 1 + below(10));
          break;
        default:
          text.insert(at, text.substr(below(text.size()), 1 + below(10)));
      }
    }
    CAPTURE(text);
    CheckAnything(environment);
  }
}

TEST_CASE("A machine's own address towards another, and that of an interface") {
  CHECK(OwnAddressTowards("127.0.0.1:9") == absl::StatusOr<std::string>("127.0.0.1"));
  CHECK(OwnAddressTowards("nowhere.invalid:9").status().code() == absl::StatusCode::kUnavailable);
  CHECK(AddressOfInterface("lo") == absl::StatusOr<std::string>("127.0.0.1"));
  CHECK(Says(AddressOfInterface("nosuch0").status(), absl::StatusCode::kNotFound, {"'nosuch0'", "lo"}));
}

}  // namespace
}  // namespace leeway
