// A rolling upgrade: the processes of a running cluster are replaced one by one by some of the next protocol version,
// while training goes on. What may meet is refused only where the versions are more than one apart.
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/codec.h"
#include "common/protocol_version.h"
#include "tests/catch.h"
#include "tests/integration/local_trainer.h"
#include "tests/support/status_check.h"
#include "tests/support/transport_suite.h"
#include "worker/models/registry.h"

namespace leeway {
namespace {

constexpr std::uint32_t kOld = 7;
constexpr std::uint32_t kNew = 8;

class Cluster {
 public:
  Cluster() {
    std::string folder = (std::filesystem::temp_directory_path() / "leeway-upgrade-XXXXXX").string();
    REQUIRE(mkdtemp(folder.data()) != nullptr);
    folder_ = folder;
  }
  ~Cluster() {
    for (auto& node : nodes_) node.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  // Starts shard `index` of two, or replaces it as a StatefulSet would: it is told to end, and comes back elsewhere
  // (shard 0: at the same address).
  absl::Status Roll(std::uint32_t index, std::uint32_t version) {
    PsNode::Options options;
    options.shard_index = index;
    options.num_shards = 2;
    options.protocol_version = version;
    options.checkpoint_dir = folder_;
    options.journal = PsNode::Options::JournalMode::kOn;
    options.drain_timeout = absl::Seconds(10);
    v1::Policy& policy = options.policy;
    policy.set_number(1);
    policy.set_staleness_bound(-1);
    policy.set_max_delay(-1);
    policy.set_num_workers(1);
    policy.set_seed(1);
    policy.set_data_sharing(v1::LEASED);
    policy.mutable_schedule()->set_rate(0.001);
    std::unique_ptr<PsNode>& node = nodes_[index];
    if (index == 0 && node != nullptr) options.listen = node->address();
    if (index > 0) options.coordinator = coordinator();
    if (node != nullptr) {
      std::thread drain([&node] { node->RequestDrain("it is replaced"); });
      const absl::Status ended = node->Wait();
      drain.join();
      if (!ended.ok()) return ended;
      node.reset();
    }
    absl::StatusOr<std::unique_ptr<PsNode>> started = PsNode::Start(options);
    if (started.ok()) node = *std::move(started);
    return started.status();
  }

  std::string coordinator() const { return nodes_[0]->address(); }
  PsNode& node(int index) { return *nodes_[index]; }

  v1::GetStatusReply Status() {
    v1::GetStatusReply reply;
    const CallResult result =
        CallAndWait(*transport_, coordinator(), "Coordinator/GetStatus", EncodeMessage(v1::GetStatusRequest()));
    if (result.status.ok()) REQUIRE(DecodeMessage(result.reply, &reply).ok());
    return reply;
  }
  // Training goes on: within a minute 200 more samples are counted.
  bool Trains() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    const std::uint64_t before = Status().samples();
    while (Status().samples() < before + 200) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }
  Transport& transport() { return *transport_; }

 private:
  std::string folder_;
  std::unique_ptr<PsNode> nodes_[2];
  const std::unique_ptr<Transport> transport_ = MakeGrpcTransport();
};

TEST_CASE("Every process of a running cluster is replaced by one of the next version, and training goes on") {
  const std::unique_ptr<Model> model = MakeModel({"softmax", 1, 28, 28, 10}).value();
  Cluster cluster;
  REQUIRE(cluster.Roll(0, kOld).ok());
  REQUIRE(cluster.Roll(1, kOld).ok());
  auto trainer = std::make_unique<LocalTrainer>(cluster.transport(), cluster.coordinator(), *model, kOld);
  REQUIRE(cluster.Trains());
  // As a StatefulSet does it: the last shard first. The coordinator is the older one then, later the newer one.
  REQUIRE(cluster.Roll(1, kNew).ok());
  CHECK(cluster.Trains());
  REQUIRE(cluster.Roll(0, kNew).ok());
  CHECK(cluster.Trains());
  trainer->Cancel();
  CHECK(trainer->Wait().ok());
  trainer = std::make_unique<LocalTrainer>(cluster.transport(), cluster.coordinator(), *model, kNew);
  CHECK(cluster.Trains());
  trainer->Cancel();
  CHECK(trainer->Wait().ok());
}

TEST_CASE("Versions that are two apart refuse each other, naming both") {
  const std::unique_ptr<Model> model = MakeModel({"softmax", 1, 28, 28, 10}).value();
  Cluster cluster;
  REQUIRE(cluster.Roll(0, kNew).ok());
  REQUIRE(cluster.Roll(1, kOld - 1).ok());
  CHECK(Says(cluster.node(1).Wait(), absl::StatusCode::kFailedPrecondition,
             {"ps 1", absl::StrCat("speaks protocol version ", kOld - 1).c_str(),
              absl::StrCat("this coordinator speaks ", kNew, " and works with ", kOld, " to ", kNew + 1).c_str()}));
  // A worker works with the coordinator, but not with each ps: it would talk to all of them.
  Cluster mixed;
  REQUIRE(mixed.Roll(0, kNew).ok());
  REQUIRE(mixed.Roll(1, kOld).ok());
  while (mixed.Status().shards_size() < 2 || !mixed.Status().shards(1).connected()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  LocalTrainer trainer(mixed.transport(), mixed.coordinator(), *model, kNew + 1);
  CHECK(Says(trainer.Wait(), absl::StatusCode::kFailedPrecondition,
             {"worker 'local'", absl::StrCat("speaks protocol version ", kNew + 1).c_str(), "the ps at",
              absl::StrCat("speaks ", kOld).c_str()}));
}

}  // namespace
}  // namespace leeway
