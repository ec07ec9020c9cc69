// The wire is plain protobuf: what protoc generates, with nothing of Leeway's codec, speaks to a real `ps`, and
// Leeway's own client speaks to a server of that kind. Numbers are exact: every gradient that is sent is seen in the
// weights.
#include <grpcpp/grpcpp.h>

#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/executor.h"
#include "common/grpc_transport.h"
#include "common/manifest.h"
#include "common/mutex.h"
#include "common/placement.h"
#include "common/rpc.h"
#include "proto/coordinator.grpc.pb.h"
#include "proto/parameter_server.grpc.pb.h"
#include "server/ps_node.h"
#include "tests/catch.h"
#include "worker/client/caller.h"
#include "worker/client/cluster_view.h"
#include "worker/client/identity.h"
#include "worker/client/pull.h"
#include "worker/client/push.h"

namespace leeway {
namespace {

constexpr std::uint64_t kElements = Placement::kChunkElements + 5000;  // two chunks, the second one short

std::string Bytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

// Small whole numbers: sums of them are exact.
std::vector<float> Gradient(int step) {
  std::vector<float> values(kElements);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((i + 7 * step) % 13);
  return values;
}

// SGD at rate 1 from zeros.
std::vector<float> After(int steps) {
  std::vector<float> weights(kElements);
  for (int step = 0; step < steps; ++step) {
    const std::vector<float> gradient = Gradient(step);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] -= gradient[i];
  }
  return weights;
}

TEST_CASE("A generated stub joins a real ps, pulls what it pushed, chunk by chunk") {
  PsNode::Options options;
  options.policy.set_number(1);
  options.policy.set_staleness_bound(0);
  options.policy.set_max_delay(-1);
  options.policy.set_num_workers(1);
  options.policy.set_data_sharing(v1::LEASED);
  options.policy.mutable_schedule()->set_rate(1);
  const std::unique_ptr<PsNode> ps = PsNode::Start(options).value();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  const auto channel =
      grpc::CreateCustomChannel("dns:///" + ps->address(), grpc::InsecureChannelCredentials(), arguments);
  const auto server = v1::ParameterServer::NewStub(channel);
  const auto coordinator = v1::Coordinator::NewStub(channel);

  v1::Manifest proto;
  proto.set_model("zeros");
  proto.add_tensors()->set_name("w");
  proto.mutable_tensors(0)->add_shape(kElements);
  Identity identity;
  identity.name = "plain";
  v1::JoinRequest join = JoinRequestFor(identity, v1::TRAINER, Manifest::FromProto(proto).value(), NewIncarnation());
  join.mutable_data()->set_num_records(100);
  join.set_samples_per_step(1);
  v1::JoinReply joined;
  do {
    grpc::ClientContext context;
    const grpc::Status status = coordinator->Join(&context, join, &joined);
    INFO(status.error_message());
    REQUIRE(status.ok());
  } while (joined.has_not_yet());
  v1::Stamp stamp;
  stamp.set_run_id(joined.run_id());
  stamp.set_worker_id(joined.worker_id());
  stamp.set_incarnation(join.incarnation());
  stamp.set_membership_epoch(joined.membership_epoch());

  const Placement placement = Placement::Make(kElements, 1).value();
  REQUIRE(placement.ShardChunks(0) == 2);
  for (int step = 0; step < 3; ++step) {
    const std::vector<float> gradient = Gradient(step);
    std::vector<float> weights;
    for (std::uint32_t chunk = 0; chunk < 2; ++chunk) {
      const ChunkRun run = placement.Chunk(0, chunk);
      v1::PullRequest pull;
      *pull.mutable_stamp() = stamp;
      pull.set_clock(step);
      pull.set_own_clock(step);
      pull.mutable_run()->set_first_block(run.first_block);
      pull.mutable_run()->set_num_blocks(run.num_blocks);
      pull.set_wait_millis(5000);
      v1::PullReply pulled;
      grpc::ClientContext context;
      REQUIRE(server->Pull(&context, pull, &pulled).ok());
      REQUIRE_FALSE(pulled.has_not_yet());
      const std::vector<float> values = Floats(pulled.payload());
      weights.insert(weights.end(), values.begin(), values.end());
    }
    CHECK(weights == After(step));
    for (std::uint32_t chunk = 0; chunk < 2; ++chunk) {
      const ChunkRun run = placement.Chunk(0, chunk);
      const auto begin = gradient.begin() + static_cast<std::ptrdiff_t>(placement.BlockBegin(run.first_block));
      v1::PushRequest push;
      *push.mutable_stamp() = stamp;
      push.set_clock(step);
      push.set_chunk(chunk);
      push.set_chunk_count(2);
      push.mutable_run()->set_first_block(run.first_block);
      push.mutable_run()->set_num_blocks(run.num_blocks);
      push.set_samples(1);
      push.set_payload(Bytes({begin, begin + static_cast<std::ptrdiff_t>(placement.RunElements(run))}));
      v1::PushReply pushed;
      grpc::ClientContext context;
      REQUIRE(server->Push(&context, push, &pushed).ok());
      CHECK(pushed.verdict() == v1::APPLIED);
    }
  }
}

// A parameter server as anybody would write it from the .proto file: one process, SGD at rate 1, no clocks.
class PlainServer final : public v1::ParameterServer::Service {
 public:
  explicit PlainServer(const Placement& placement) : placement_(placement), weights_(placement.elements()) {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(-1);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~PlainServer() override { server_->Shutdown(); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  grpc::Status Pull(grpc::ServerContext*, const v1::PullRequest* request, v1::PullReply* reply) override {
    MutexLock lock(mu_);
    const auto [begin, end] = Range(request->run());
    *reply->mutable_run() = request->run();
    reply->set_version(version_);
    reply->set_generation(1);
    reply->set_payload(Bytes({weights_.begin() + begin, weights_.begin() + end}));
    return grpc::Status::OK;
  }

  grpc::Status Push(grpc::ServerContext*, const v1::PushRequest* request, v1::PushReply* reply) override {
    MutexLock lock(mu_);
    const auto [begin, end] = Range(request->run());
    const std::vector<float> gradient = Floats(request->payload());
    if (static_cast<std::ptrdiff_t>(gradient.size()) != end - begin) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "a payload of another size than its blocks'"};
    }
    for (std::size_t i = 0; i < gradient.size(); ++i) weights_[static_cast<std::size_t>(begin) + i] -= gradient[i];
    if (request->chunk() == 0) ++version_;
    reply->set_verdict(v1::APPLIED);
    reply->set_version(version_);
    return grpc::Status::OK;
  }

 private:
  // The elements of a run; there is one shard, so they lie behind one another.
  std::pair<std::ptrdiff_t, std::ptrdiff_t> Range(const v1::BlockRun& run) const {
    const auto begin = static_cast<std::ptrdiff_t>(placement_.BlockBegin(run.first_block()));
    return {begin, begin + static_cast<std::ptrdiff_t>(placement_.RunElements({run.first_block(), run.num_blocks()}))};
  }

  const Placement placement_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  Mutex mu_;
  std::vector<float> weights_ LEEWAY_GUARDED_BY(mu_);
  std::uint64_t version_ LEEWAY_GUARDED_BY(mu_) = 0;
};

// What Leeway's client needs, ended in the right order.
struct Client {
  Client() : caller(*transport, *clock, *executor, "nobody:1", absl::Seconds(20), 1) {}
  ~Client() {
    caller.Stop();
    transport.reset();
    clock.reset();
    executor.reset();
  }
  std::unique_ptr<Executor> executor = MakeThreadPool(2);
  std::unique_ptr<Clock> clock = MakeSystemClock();
  std::unique_ptr<Transport> transport = MakeGrpcTransport();
  Caller caller;
};

TEST_CASE("Leeway's client pulls from a server of generated code what it pushed there") {
  const Placement placement = Placement::Make(kElements, 1).value();
  PlainServer server(placement);
  Client client;
  client.caller.SetShardAddresses({server.address()});
  v1::JoinReply join;
  join.set_run_id(5);
  const auto view = std::make_shared<ClusterView>(join, 42, [] {});
  for (int step = 0; step < 3; ++step) {
    std::vector<float> weights(kElements, -1.0f);
    std::promise<PullResult> pulled;
    Pull::Request request;
    request.clock = request.own_clock = static_cast<std::uint64_t>(step);
    std::make_shared<Pull>(client.caller, view, placement, request, weights.data(), [&pulled](PullResult result) {
      pulled.set_value(std::move(result));
    })->Start();
    const PullResult read = pulled.get_future().get();
    INFO(read.status.ToString());
    REQUIRE(read.status.ok());
    CHECK(read.reads[0].version == static_cast<std::uint64_t>(step));
    CHECK(weights == After(step));

    const std::vector<float> gradient = Gradient(step);
    std::promise<PushResult> pushed;
    const auto push = std::make_shared<Push>(
        client.caller, view, placement, Push::Request{static_cast<std::uint64_t>(step), 1, read.reads}, 0, nullptr,
        gradient.data(), nullptr, [&pushed](PushResult result) { pushed.set_value(std::move(result)); });
    for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(0); ++chunk) push->Ready({0, chunk});
    const PushResult result = pushed.get_future().get();
    INFO(result.status.ToString());
    REQUIRE(result.status.ok());
    CHECK(result.verdict == v1::APPLIED);
  }
}

}  // namespace
}  // namespace leeway
