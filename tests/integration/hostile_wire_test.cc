// What a stranger on the network can send to a `ps` that serves a training worker: every request gets the right
// status code, and the worker trains on. And what any plain protobuf client may do: join, pull, push.
#include <grpcpp/grpcpp.h>

#include <cmath>
#include <future>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/manifest.h"
#include "common/placement.h"
#include "common/rpc.h"
#include "proto/coordinator.grpc.pb.h"
#include "proto/parameter_server.grpc.pb.h"
#include "tests/catch.h"
#include "tests/integration/local_trainer.h"
#include "tests/seed.h"
#include "tests/support/status_check.h"
#include "worker/client/identity.h"
#include "worker/models/registry.h"

namespace leeway {
namespace {

constexpr absl::Duration kTimeout = absl::Minutes(1);

// A worker in training, and a stranger who has joined beside it by the stubs that protoc generates.
class Cluster {
 public:
  Cluster()
      : transport_(MakeGrpcTransport()),
        model_(MakeModel(Spec()).value()),
        ps_(StartPs(v1::STREAM, 0)),
        trainer_(*transport_, ps_->address(), *model_) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    const auto channel =
        grpc::CreateCustomChannel("dns:///" + ps_->address(), grpc::InsecureChannelCredentials(), arguments);
    server_ = v1::ParameterServer::NewStub(channel);
    coordinator_ = v1::Coordinator::NewStub(channel);
    Join();
  }

  v1::GetStatusReply Status() {
    grpc::ClientContext context;
    v1::GetStatusReply reply;
    REQUIRE(coordinator_->GetStatus(&context, {}, &reply).ok());
    return reply;
  }

  grpc::Status Pull(const v1::PullRequest& request, v1::PullReply* reply) {
    grpc::ClientContext context;
    return server_->Pull(&context, request, reply);
  }

  grpc::Status Push(const v1::PushRequest& request, v1::PushReply* reply) {
    grpc::ClientContext context;
    return server_->Push(&context, request, reply);
  }

  // The answer to any bytes.
  absl::Status Send(const std::string& method, std::string bytes) {
    std::promise<absl::Status> answer;
    transport_->Call(ps_->address(), method, Buffer::FromString(std::move(bytes)), kTimeout,
                     [&answer](const absl::Status& status, const Buffer&) { answer.set_value(status); });
    return answer.get_future().get();
  }

  // A good push of zeros for step `clock`.
  v1::PushRequest GoodPush(std::uint64_t clock) const {
    v1::PushRequest push;
    *push.mutable_stamp() = stamp_;
    push.set_clock(clock);
    push.set_chunk_count(1);
    push.mutable_run()->set_num_blocks(blocks_);
    push.set_samples(1);
    push.set_payload(std::string(model_->manifest().elements() * sizeof(float), '\0'));
    return push;
  }

  v1::PullRequest GoodPull(std::uint64_t clock) const {
    v1::PullRequest pull;
    *pull.mutable_stamp() = stamp_;
    pull.set_clock(clock);
    pull.set_own_clock(clock);
    pull.mutable_run()->set_num_blocks(blocks_);
    pull.set_wait_millis(1000);
    return pull;
  }

  std::uint64_t entry_clock() const { return entry_clock_; }
  std::uint64_t elements() const { return model_->manifest().elements(); }

  // Training goes on, and the worker has not noticed anything; then it ends.
  void CheckUndisturbed() {
    const std::uint64_t before = Status().samples();
    v1::GetStatusReply status;
    for (int i = 0; i < 6000 && status.samples() < before + 10 * LocalTrainer::kBatch; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      status = Status();
    }
    CHECK(status.samples() >= before + 10 * LocalTrainer::kBatch);
    trainer_.Cancel();
    CHECK(trainer_.Wait().ok());
    status = Status();
    for (const v1::WorkerStatus& worker : status.workers()) {
      if (worker.name() != "local") continue;
      CHECK(worker.reason() == "preempted");
      CHECK(worker.progress().pushes_refused() == 0);
      CHECK(worker.progress().pushes_partial() == 0);
    }
  }

 private:
  static ModelSpec Spec() {
    ModelSpec spec;
    spec.name = "softmax";
    spec.channels = 1;
    spec.height = spec.width = 28;
    spec.classes = 10;
    return spec;
  }

  void Join() {
    Identity identity;
    identity.name = "stranger";
    v1::JoinRequest request = JoinRequestFor(identity, v1::TRAINER, model_->manifest(), NewIncarnation());
    request.mutable_data()->set_num_records(trainer_.data().num_records());
    request.mutable_data()->set_fingerprint(trainer_.data().fingerprint());
    request.set_samples_per_step(1);
    // The worker comes first: it is the one that the start waits for.
    while (Status().state() != v1::TRAINING) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    v1::JoinReply reply;
    do {
      grpc::ClientContext context;
      const grpc::Status status = coordinator_->Join(&context, request, &reply);
      INFO(status.error_message());
      REQUIRE(status.ok());
    } while (reply.has_not_yet());
    stamp_.set_run_id(reply.run_id());
    stamp_.set_worker_id(reply.worker_id());
    stamp_.set_incarnation(request.incarnation());
    stamp_.set_membership_epoch(reply.membership_epoch());
    stamp_.set_policy_number(reply.policy().number());
    entry_clock_ = reply.entry_clock();
    blocks_ = static_cast<std::uint32_t>(Placement::Make(elements(), 1).value().num_blocks());
  }

  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<PsNode> ps_;
  LocalTrainer trainer_;
  std::unique_ptr<v1::ParameterServer::Stub> server_;
  std::unique_ptr<v1::Coordinator::Stub> coordinator_;
  v1::Stamp stamp_;
  std::uint64_t entry_clock_ = 0;
  std::uint32_t blocks_ = 0;
};

TEST_CASE("A plain protobuf client joins, pulls and pushes") {
  Cluster cluster;
  v1::PullReply weights;
  REQUIRE(cluster.Pull(cluster.GoodPull(cluster.entry_clock()), &weights).ok());
  CHECK(weights.payload().size() == cluster.elements() * sizeof(float));
  v1::PushReply verdict;
  REQUIRE(cluster.Push(cluster.GoodPush(cluster.entry_clock()), &verdict).ok());
  CHECK(verdict.verdict() == v1::APPLIED);
  CHECK(verdict.own_clock() == cluster.entry_clock() + 1);
  CHECK_FALSE(verdict.duplicate());
  // Sent again, it is not applied again.
  REQUIRE(cluster.Push(cluster.GoodPush(cluster.entry_clock()), &verdict).ok());
  CHECK(verdict.verdict() == v1::APPLIED);
  CHECK(verdict.duplicate());
  cluster.CheckUndisturbed();
}

TEST_CASE("A wrong push is refused with the right code") {
  Cluster cluster;
  const v1::PushRequest good = cluster.GoodPush(cluster.entry_clock());
  v1::PushReply reply;
  const auto code = [&](const v1::PushRequest& push) { return cluster.Push(push, &reply).error_code(); };

  v1::PushRequest push = good;
  push.mutable_payload()->resize(good.payload().size() - 4);
  CHECK(code(push) == grpc::StatusCode::INVALID_ARGUMENT);
  push.mutable_payload()->resize(good.payload().size() + 4);
  CHECK(code(push) == grpc::StatusCode::INVALID_ARGUMENT);
  push.mutable_payload()->resize(16 << 20);
  CHECK(code(push) == grpc::StatusCode::INVALID_ARGUMENT);
  push.mutable_payload()->resize(64 << 20);
  CHECK(code(push) == grpc::StatusCode::RESOURCE_EXHAUSTED);  // unread
  push = good;
  push.mutable_run()->set_num_blocks(1u << 31);
  CHECK(code(push) == grpc::StatusCode::INVALID_ARGUMENT);
  push = good;
  push.set_chunk(7);
  CHECK(code(push) == grpc::StatusCode::INVALID_ARGUMENT);
  push = good;
  push.mutable_stamp()->set_incarnation(1);
  CHECK(code(push) == grpc::StatusCode::FAILED_PRECONDITION);
  push = good;
  push.mutable_stamp()->set_run_id(1);
  CHECK(code(push) == grpc::StatusCode::FAILED_PRECONDITION);

  v1::PullRequest pull = cluster.GoodPull(cluster.entry_clock());
  v1::PullReply weights;
  pull.mutable_run()->set_num_blocks(1u << 31);
  CHECK(cluster.Pull(pull, &weights).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  cluster.CheckUndisturbed();
}

TEST_CASE("A gradient with NaN or Inf is refused and counted, and the weights stay finite") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Cluster cluster;
    v1::PushRequest push = cluster.GoodPush(cluster.entry_clock());
    push.mutable_payload()->replace(400, sizeof(bad), reinterpret_cast<const char*>(&bad), sizeof(bad));
    v1::PushReply reply;
    CHECK(cluster.Push(push, &reply).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    v1::PullReply weights;
    REQUIRE(cluster.Pull(cluster.GoodPull(cluster.entry_clock()), &weights).ok());
    float value = 0;
    weights.payload().copy(reinterpret_cast<char*>(&value), sizeof(value), 400);
    CHECK(std::isfinite(value));
    cluster.CheckUndisturbed();
  }
}

TEST_CASE("What comes beside a payload is refused when it is large: nobody would have counted it") {
  Cluster cluster;
  // A field that nobody knows.
  std::string junk = "\xa2\x06\x80\x80\x04";
  junk.append(64 << 10, 'x');
  const v1::PushRequest good = cluster.GoodPush(cluster.entry_clock());
  v1::PushRequest null = good;
  null.clear_payload();
  null.set_null_verdict(v1::APPLIED);
  null.mutable_stamp()->set_membership_epoch(good.stamp().membership_epoch() + 1);  // it waits
  v1::PushPullRequest both;
  *both.mutable_push() = good;
  both.mutable_push()->set_payload(std::string(64 << 10, 'x'));
  *both.mutable_pull() = cluster.GoodPull(cluster.entry_clock());
  both.set_payload(good.payload());
  v1::PutWeightsRequest weights;
  *weights.mutable_stamp() = good.stamp();
  v1::WatchRoundRequest watch;
  *watch.mutable_stamp() = good.stamp();
  const std::pair<std::string, std::string> requests[] = {
      {"ParameterServer/Push", good.SerializeAsString() + junk},
      {"ParameterServer/Push", null.SerializeAsString() + junk},
      {"ParameterServer/PushPull", both.SerializeAsString()},
      {"ParameterServer/Pull", both.pull().SerializeAsString() + junk},
      {"ParameterServer/PutWeights", weights.SerializeAsString() + junk},
      {"ParameterServer/WatchRound", watch.SerializeAsString() + junk}};
  for (const auto& [method, bytes] : requests) {
    INFO(method);
    CHECK(Says(cluster.Send(method, bytes), absl::StatusCode::kInvalidArgument, {"of header; at most 65536"}));
  }
  cluster.CheckUndisturbed();
}

TEST_CASE("Random bytes and mutated messages of every method do no harm") {
  Cluster cluster;
  std::mt19937_64 random(TestSeed());
  const std::vector<std::string> methods = {
      "ParameterServer/Pull",  "ParameterServer/Push",    "ParameterServer/PushPull",
      "Coordinator/Join",      "Coordinator/Heartbeat",   "Coordinator/ReportRound",
      "Coordinator/OpenPush",  "Coordinator/CommitData",  "Coordinator/ReportProgress",
      "Coordinator/GetStatus", "Coordinator/AcquireData", "ParameterServer/WatchRound"};
  const std::string good = cluster.GoodPush(cluster.entry_clock()).SerializeAsString().substr(0, 200);
  for (const std::string& method : methods) {
    for (int i = 0; i < 20; ++i) {
      std::string bytes;
      if (i % 2 == 0) {
        bytes.resize(random() % 300);
        for (char& byte : bytes) byte = static_cast<char>(random());
      } else {
        bytes = good;
        for (int change = 0; change < 3; ++change) bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      const absl::StatusCode code = cluster.Send(method, bytes).code();
      INFO(method << " " << i << ": " << absl::StatusCodeToString(code));
      CHECK(code != absl::StatusCode::kUnknown);
      CHECK(code != absl::StatusCode::kInternal);
      CHECK(code != absl::StatusCode::kUnavailable);
    }
  }
  CHECK(cluster.Send("ParameterServer/Push", "\xff\xff\xff").code() == absl::StatusCode::kInvalidArgument);
  CHECK(cluster.Send("ParameterServer/NoSuch", "").code() == absl::StatusCode::kUnimplemented);
  cluster.CheckUndisturbed();
}

}  // namespace
}  // namespace leeway
