// A `ps` that ends while one of its disks is still at work: what that says when it is done meets nothing that is gone.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_format.h"
#include "proto/coordinator.grpc.pb.h"
#include "server/ps_node.h"
#include "tests/catch.h"
#include "tests/support/temp_directory.h"
#include "worker/client/identity.h"

namespace leeway {
namespace {

// So many files are to be removed before the first checkpoint begins that the `ps` ends before they are.
constexpr int kFiles = 20'000;

v1::JoinRequest JoinOf(const std::string& name) {
  v1::Manifest manifest;
  manifest.set_model("zeros");
  manifest.add_tensors()->set_name("w");
  manifest.mutable_tensors(0)->add_shape(5000);
  Identity identity;
  identity.name = name;
  v1::JoinRequest join = JoinRequestFor(identity, v1::TRAINER, Manifest::FromProto(manifest).value(), NewIncarnation());
  join.mutable_data()->set_num_records(100);
  join.set_samples_per_step(1);
  return join;
}

TEST_CASE("A ps ends while its checkpoint's disk is at work") {
  const TempDirectory directory;
  const std::string left_behind = directory / "step-00000000";
  std::filesystem::create_directory(left_behind);
  const auto file = [&](int i) { return left_behind + absl::StrFormat("/%06d", i); };
  for (int i = 0; i < kFiles; ++i) std::ofstream(file(i)).put('x');

  PsNode::Options options;
  options.checkpoint_dir = directory / "";
  options.checkpoint_dir.pop_back();
  options.journal = PsNode::Options::JournalMode::kOn;
  options.policy.set_number(1);
  options.policy.set_staleness_bound(-1);
  options.policy.set_max_delay(-1);
  options.policy.set_num_workers(1);
  options.policy.set_data_sharing(v1::LEASED);
  options.policy.mutable_schedule()->set_rate(1);
  std::unique_ptr<PsNode> ps = PsNode::Start(options).value();
  const auto coordinator =
      v1::Coordinator::NewStub(grpc::CreateChannel("dns:///" + ps->address(), grpc::InsecureChannelCredentials()));
  const v1::JoinRequest join = JoinOf("w");
  v1::JoinReply joined;
  do {
    grpc::ClientContext context;
    const grpc::Status status = coordinator->Join(&context, join, &joined);
    INFO(status.error_message());
    REQUIRE(status.ok());
  } while (joined.has_not_yet());
  // Training has begun, and with it the first checkpoint.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::filesystem::exists(file(0)) && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  REQUIRE_FALSE(std::filesystem::exists(file(0)));
  ps.reset();
  CHECK_FALSE(std::filesystem::exists(file(kFiles - 1)));  // what had begun was completed
}

}  // namespace
}  // namespace leeway
