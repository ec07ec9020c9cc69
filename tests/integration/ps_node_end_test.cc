// A `ps` that ends while one of its disks is still at work: what that says when it is done meets nothing that is gone.
// And one that is drained while the run goes back to a checkpoint: it ends.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "proto/coordinator.grpc.pb.h"
#include "proto/parameter_server.grpc.pb.h"
#include "server/ps_node.h"
#include "tests/catch.h"
#include "tests/support/temp_directory.h"
#include "worker/client/identity.h"

namespace leeway {
namespace {

constexpr std::uint64_t kElements = 5000;
constexpr std::uint64_t kIncarnation = 7;

v1::JoinRequest JoinOf(const std::string& name) {
  v1::Manifest manifest;
  manifest.set_model("zeros");
  manifest.add_tensors()->set_name("w");
  manifest.mutable_tensors(0)->add_shape(kElements);
  Identity identity;
  identity.name = name;
  v1::JoinRequest join = JoinRequestFor(identity, v1::TRAINER, Manifest::FromProto(manifest).value(), kIncarnation);
  join.mutable_data()->set_num_records(100);
  join.set_samples_per_step(1);
  return join;
}

// What is in a checkpoint's way: so many files are to be removed before it begins that other things come first.
class LeftBehind {
 public:
  LeftBehind(const std::string& folder, int files) : folder_(folder), files_(files) {
    std::filesystem::create_directory(folder_);
    for (int i = 0; i < files_; ++i) std::ofstream(File(i)).put('x');
  }
  bool is_being_removed() const { return !std::filesystem::exists(File(0)); }
  bool is_removed() const { return !std::filesystem::exists(File(files_ - 1)); }

 private:
  std::string File(int i) const { return folder_ + absl::StrFormat("/%06d", i); }

  const std::string folder_;
  const int files_;
};

PsNode::Options OptionsIn(const TempDirectory& directory) {
  PsNode::Options options;
  options.checkpoint_dir = directory / "";
  options.checkpoint_dir.pop_back();
  options.journal = PsNode::Options::JournalMode::kOn;
  options.lease = absl::Minutes(10);  // a slow disk ends none
  options.policy.set_number(1);
  options.policy.set_staleness_bound(-1);
  options.policy.set_max_delay(-1);
  options.policy.set_num_workers(1);
  options.policy.set_data_sharing(v1::LEASED);
  options.policy.mutable_schedule()->set_rate(1);
  return options;
}

// Its run begins with this.
v1::JoinReply Join(v1::Coordinator::Stub& coordinator) {
  const v1::JoinRequest join = JoinOf("w");
  v1::JoinReply joined;
  do {
    grpc::ClientContext context;
    const grpc::Status status = coordinator.Join(&context, join, &joined);
    INFO(status.error_message());
    REQUIRE(status.ok());
  } while (joined.has_not_yet());
  return joined;
}

bool WaitUntil(const std::function<bool()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!done() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  return done();
}

TEST_CASE("A ps ends while its checkpoint's disk is at work") {
  const TempDirectory directory;
  const LeftBehind left_behind(directory / "step-00000000", 20'000);
  std::unique_ptr<PsNode> ps = PsNode::Start(OptionsIn(directory)).value();
  const auto channel = grpc::CreateChannel("dns:///" + ps->address(), grpc::InsecureChannelCredentials());
  Join(*v1::Coordinator::NewStub(channel));
  // Training has begun, and with it the first checkpoint.
  REQUIRE(WaitUntil([&] { return left_behind.is_being_removed(); }));
  ps.reset();
  CHECK(left_behind.is_removed());  // what had begun was completed
}

// Its own checkpoint is about to begin when a worker says that the process before it had answered more than its journal
// has.
TEST_CASE("A ps that is drained ends, though the run goes back meanwhile") {
  const TempDirectory directory;
  std::unique_ptr<PsNode> ps = PsNode::Start(OptionsIn(directory)).value();
  const auto channel = [&ps] {
    return grpc::CreateChannel("dns:///" + ps->address(), grpc::InsecureChannelCredentials());
  };
  auto coordinator = v1::Coordinator::NewStub(channel());
  const v1::JoinReply joined = Join(*coordinator);
  REQUIRE(WaitUntil([&] {  // there is one to go back to
    v1::CheckpointRequest ask;
    ask.set_wait_millis(1000);
    v1::CheckpointReply checkpoint;
    grpc::ClientContext context;
    return coordinator->Checkpoint(&context, ask, &checkpoint).ok() && checkpoint.name() == "step-00000000";
  }));
  v1::PushRequest push;
  push.mutable_stamp()->set_run_id(joined.run_id());
  push.mutable_stamp()->set_worker_id(joined.worker_id());
  push.mutable_stamp()->set_incarnation(kIncarnation);
  push.mutable_stamp()->set_membership_epoch(joined.membership_epoch());
  push.set_chunk_count(1);
  push.mutable_run()->set_num_blocks(2);
  push.set_samples(1);
  push.set_payload(std::string(kElements * sizeof(float), 0));
  v1::PushReply pushed;
  const auto shard = v1::ParameterServer::NewStub(channel());
  REQUIRE(WaitUntil([&] {
    grpc::ClientContext context;
    return shard->Push(&context, push, &pushed).ok() && pushed.verdict() == v1::APPLIED;
  }));
  v1::CommitDataRequest commit;
  *commit.mutable_stamp() = push.stamp();
  commit.set_applied(true);
  const auto committed = [&] {
    grpc::ClientContext context;
    v1::CommitDataReply reply;
    return coordinator->CommitData(&context, commit, &reply).ok();
  };
  REQUIRE(committed());

  ps.reset();
  ps = PsNode::Start(OptionsIn(directory)).value();
  coordinator = v1::Coordinator::NewStub(channel());
  std::future<absl::Status> ended = std::async(std::launch::async, [&ps] { return ps->Wait(); });
  const LeftBehind left_behind(directory / "step-00000001", 1'000);
  CHECK(WaitUntil([&] {
    v1::DrainRequest drain;
    drain.set_target("ps-0");
    grpc::ClientContext context;
    v1::DrainReply reply;
    coordinator->Drain(&context, drain, &reply);
    return left_behind.is_being_removed();
  }));
  v1::Journaled& journaled = *commit.add_journaled();
  journaled.set_generation(pushed.generation());
  journaled.set_records(1'000'000);
  commit.set_clock(1);
  CHECK(committed());
  const bool ends = ended.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  CHECK(ends);
  if (!ends) ps->RequestStop("it would not end");
  CHECK(ended.get().ok());
}

}  // namespace
}  // namespace leeway
