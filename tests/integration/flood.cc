// flood COORDINATOR ELEMENTS FLOODERS UNDER_WAY PUSHES SECONDS [local]: workers that push to a `ps` as fast as they can
// and do not do as they are told: each keeps UNDER_WAY whole chunks under way over connections of its own, and sends a
// refused chunk again at once, whatever delay it was told. Others ask for copies of the weights and do not read them.
// Beside them a worker that behaves pulls and pushes, one after the other. Ends when every one of them has had PUSHES
// pushes accepted, or after SECONDS. Prints one line of JSON. tests/integration/flood_test.py runs it.
#include <grpc/grpc.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/bench/shard_client.h"
#include "common/any_transport.h"
#include "common/end_process.h"
#include "common/executor.h"
#include "common/grpc_buffer.h"
#include "common/manifest.h"
#include "common/mutex.h"
#include "common/retry.h"
#include "common/rpc.h"
#include "worker/client/cancellation.h"
#include "worker/client/chunk_memory.h"
#include "worker/client/identity.h"
#include "worker/client/join.h"

namespace leeway {
namespace {

constexpr int kSlowReaders = 8;
constexpr int kUnread = 8;  // answers that each of those leaves unread
constexpr absl::Duration kTimeout = absl::Minutes(2);
constexpr std::uint64_t kStepsAhead = 8;  // a push window has 16

// What all of them share.
struct Flood {
  std::string coordinator;
  Manifest manifest;
  Placement placement;
  std::uint64_t pushes = 0;
  std::uint64_t under_way = 0;  // chunks of one flooder
  bool local = false;           // over local sockets
  std::shared_ptr<std::vector<float>> gradient;
  std::unique_ptr<Clock> clock = MakeSystemClock();
  std::unique_ptr<Executor> executor = MakeThreadPool(2);
  std::atomic<bool> over = false;
  std::atomic<std::uint64_t> refused = 0;
  Mutex mu;
  CondVar changed;
  std::string failure LEEWAY_GUARDED_BY(mu);
  std::uint64_t unfinished LEEWAY_GUARDED_BY(mu) = 0;  // of all who push, those without their pushes yet

  void Fail(const std::string& what) {
    MutexLock lock(mu);
    if (failure.empty()) failure = what;
    changed.NotifyAll();
  }
  void Finished() {
    MutexLock lock(mu);
    --unfinished;
    changed.NotifyAll();
  }
  // Until all have finished, one has failed, or the time is over.
  void Wait(std::chrono::seconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    MutexLock lock(mu);
    while (unfinished > 0 && failure.empty() && changed.WaitUntil(mu, deadline)) {
    }
  }
};

// `address`, unless null, gets where to push to.
absl::StatusOr<v1::Stamp> Join(Flood& flood, Transport& transport, const std::string& name, v1::Role role,
                               std::string* address) {
  Caller caller(transport, *flood.clock, *flood.executor, flood.coordinator, absl::Minutes(1), 1);
  const std::uint64_t incarnation = NewIncarnation();
  Identity identity;
  identity.name = name;
  v1::JoinRequest request = JoinRequestFor(identity, role, flood.manifest, incarnation);
  request.mutable_data()->set_num_records(1);
  request.mutable_data()->set_fingerprint(1);
  request.set_samples_per_step(1);
  request.set_pipeline_depth(1);
  Cancellation never;
  const absl::StatusOr<v1::JoinReply> join = JoinCluster(caller, request, absl::Minutes(1), never);
  caller.Stop();
  if (!join.ok()) return join.status();
  if (address != nullptr) *address = flood.local ? join->local_endpoints(0).address() : flood.coordinator;
  v1::Stamp stamp;
  stamp.set_run_id(join->run_id());
  stamp.set_worker_id(join->worker_id());
  stamp.set_incarnation(incarnation);
  stamp.set_membership_epoch(join->membership_epoch());
  stamp.set_policy_number(join->policy().number());
  return stamp;
}

// Pushes without regard for what it is told, until the flood is over.
class Flooder {
 public:
  explicit Flooder(Flood& flood) : flood_(flood), transport_(MakeTransport()) {}

  absl::Status Join(const std::string& name) {
    absl::StatusOr<v1::Stamp> stamp = leeway::Join(flood_, *transport_, name, v1::TRAINER, &address_);
    if (stamp.ok()) stamp_ = *std::move(stamp);
    return stamp.status();
  }
  void Start() {
    for (std::size_t i = 0; i < flood_.under_way; ++i) SendNext();
  }
  // Pushes whose every chunk has been accepted.
  std::uint64_t pushes() {
    MutexLock lock(mu_);
    return accepted_.empty() ? next_ : first_;
  }

 private:
  void SendNext() {
    std::uint64_t step;
    std::uint32_t chunk;
    {
      MutexLock lock(mu_);
      if (!again_.empty()) {
        std::tie(step, chunk) = again_.front();
        again_.pop_front();
      } else if (next_ < first_ + kStepsAhead) {
        step = next_;
        chunk = next_chunk_;
        if (chunk == 0) accepted_.push_back(0);
        next_chunk_ = (next_chunk_ + 1) % flood_.placement.ShardChunks(0);
        if (next_chunk_ == 0) ++next_;
      } else {
        ++idle_;
        return;
      }
    }
    Send(step, chunk);
  }

  void Send(std::uint64_t step, std::uint32_t chunk) {
    const ChunkRun run = flood_.placement.Chunk(0, chunk);
    v1::PushRequest request;
    *request.mutable_stamp() = stamp_;
    request.set_clock(step);
    request.set_chunk(chunk);
    request.set_chunk_count(flood_.placement.ShardChunks(0));
    *request.mutable_run() = RunToProto(run);
    request.set_samples(1);
    const Buffer payload = WrapRun(flood_.placement, run, flood_.gradient, flood_.gradient->data());
    transport_->Call(address_, "ParameterServer/Push", EncodeMessage(request, payload), kTimeout,
                     [this, step, chunk](const absl::Status& status, const Buffer&) { Answered(step, chunk, status); });
  }

  void Answered(std::uint64_t step, std::uint32_t chunk, const absl::Status& status) {
    if (flood_.over) return;
    std::size_t more = 1;
    bool enough = false;
    if (status.ok()) {
      MutexLock lock(mu_);
      ++accepted_[step - first_];
      while (!accepted_.empty() && accepted_.front() == flood_.placement.ShardChunks(0)) {
        accepted_.pop_front();
        enough |= ++first_ == flood_.pushes;
      }
      more += std::exchange(idle_, 0);
    } else if (IsRetryable(status)) {  // or the machine is too busy to connect in time
      if (absl::IsResourceExhausted(status)) ++flood_.refused;
      MutexLock lock(mu_);
      again_.emplace_back(step, chunk);
    } else {
      flood_.Fail("a push ended with " + status.ToString());
      return;
    }
    if (enough) flood_.Finished();
    // Not on the thread that brings answers: it would call itself for ever.
    flood_.executor->Post([this, more] {
      for (std::size_t i = 0; i < more; ++i) SendNext();
    });
  }

  Flood& flood_;
  const std::unique_ptr<Transport> transport_;
  std::string address_;
  v1::Stamp stamp_;
  Mutex mu_;
  std::deque<std::pair<std::uint64_t, std::uint32_t>> again_ LEEWAY_GUARDED_BY(mu_);  // refused
  std::deque<std::uint32_t> accepted_ LEEWAY_GUARDED_BY(mu_);  // chunks of the steps from first_ on
  std::uint64_t first_ LEEWAY_GUARDED_BY(mu_) = 0;             // steps below it are accepted whole
  std::uint64_t next_ LEEWAY_GUARDED_BY(mu_) = 0;              // the step and chunk to be sent next
  std::uint32_t next_chunk_ LEEWAY_GUARDED_BY(mu_) = 0;
  std::size_t idle_ LEEWAY_GUARDED_BY(mu_) = 0;  // places under way that found nothing to send
};

// Asks for a copy of a chunk, and never reads the answer.
class UnreadPull final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  using Stub = grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>;
  UnreadPull(Stub& stub, const v1::PullRequest& request) : request_(ToGrpc(EncodeMessage(request))) {
    stub.PrepareBidiStreamingCall(&context_, "/leeway.v1.ParameterServer/Pull", grpc::StubOptions(), this);
    StartWriteLast(&request_, grpc::WriteOptions());
    StartCall();
  }
  void OnDone(const grpc::Status&) override {}

 private:
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
};

class SlowReader {
 public:
  SlowReader(Flood& flood, int number) : flood_(flood), transport_(MakeTransport()) {
    grpc::ChannelArguments arguments;
    arguments.SetUserAgentPrefix(absl::StrCat("slow-reader-", number));
    stub_ = std::make_unique<UnreadPull::Stub>(
        grpc::CreateCustomChannel(flood.coordinator, grpc::InsecureChannelCredentials(), arguments));
  }
  absl::Status Start(const std::string& name) {
    absl::StatusOr<v1::Stamp> stamp = Join(flood_, *transport_, name, v1::EVALUATOR, nullptr);
    if (!stamp.ok()) return stamp.status();
    v1::PullRequest request;
    *request.mutable_stamp() = *stamp;
    *request.mutable_run() = RunToProto(flood_.placement.Chunk(0, 0));
    request.set_copy(true);
    for (int i = 0; i < kUnread; ++i) pulls_.emplace_back(*stub_, request);
    return absl::OkStatus();
  }

 private:
  Flood& flood_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<UnreadPull::Stub> stub_;
  std::deque<UnreadPull> pulls_;
};

struct Behaved {
  std::uint64_t pushes = 0;
  double slowest_pull = 0;  // seconds
};

// Pulls and pushes until it has pushed often enough.
absl::Status Behave(Flood& flood, ShardClient& client, Behaved* result) {
  while (!flood.over && result->pushes < flood.pushes) {
    const Instant start = flood.clock->Now();
    if (absl::Status status = client.Pull(); !status.ok()) return status;
    result->slowest_pull = std::max(result->slowest_pull, absl::ToDoubleSeconds(flood.clock->Now() - start));
    if (absl::Status status = client.Push(); !status.ok()) return status;
    ++result->pushes;
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  if (argc != 7 && argc != 8) return 2;
  const auto number = [&](int i) { return static_cast<std::uint64_t>(std::atoll(argv[i])); };
  grpc_init();
  v1::Manifest model;  // ShardClient's
  model.set_model("bench");
  model.add_tensors()->set_name("weights");
  model.mutable_tensors(0)->add_shape(static_cast<std::int64_t>(number(2)));
  Flood flood;
  flood.coordinator = argv[1];
  flood.manifest = Manifest::FromProto(model).value();
  flood.placement = Placement::Make(number(2), 1).value();
  flood.under_way = number(4);
  flood.pushes = number(5);
  flood.local = argc == 8;
  flood.gradient = std::make_shared<std::vector<float>>(number(2), 1e-6f);

  // Training begins when all trainers are there: they join side by side.
  std::vector<std::unique_ptr<Flooder>> flooders;
  for (std::uint64_t i = 0; i < number(3); ++i) flooders.push_back(std::make_unique<Flooder>(flood));
  std::unique_ptr<ShardClient> client;
  std::vector<std::thread> joins;
  for (std::size_t i = 0; i < flooders.size(); ++i) {
    joins.emplace_back([&, i] {
      const absl::Status status = flooders[i]->Join(absl::StrCat("flooder-", i));
      if (!status.ok()) flood.Fail("join: " + status.ToString());
    });
  }
  joins.emplace_back([&] {
    absl::StatusOr<std::unique_ptr<ShardClient>> joined = ShardClient::Join(flood.coordinator, "behaved", number(2));
    if (joined.ok()) client = *std::move(joined);
    if (!joined.ok()) flood.Fail("join: " + joined.status().ToString());
  });
  for (std::thread& thread : joins) thread.join();
  std::deque<SlowReader> readers;
  for (int i = 0; i < kSlowReaders && client != nullptr; ++i) {
    const absl::Status status = readers.emplace_back(flood, i).Start(absl::StrCat("reader-", i));
    if (!status.ok()) flood.Fail("join: " + status.ToString());
  }

  Behaved behaved;
  {
    MutexLock lock(flood.mu);
    flood.unfinished = flooders.size() + 1;
  }
  std::thread good([&] {
    if (client == nullptr) return;
    const absl::Status status = Behave(flood, *client, &behaved);
    if (!status.ok()) flood.Fail("the one that behaves: " + status.ToString());
    flood.Finished();
  });
  const Instant start = flood.clock->Now();
  const auto least = [&] {
    std::uint64_t fewest = ~std::uint64_t{0};
    for (const auto& flooder : flooders) fewest = std::min(fewest, flooder->pushes());
    return fewest;
  };
  for (const auto& flooder : flooders) flooder->Start();
  flood.Wait(std::chrono::seconds(static_cast<int>(number(6))));
  flood.over = true;
  good.join();
  std::uint64_t most = 0;
  for (const auto& flooder : flooders) most = std::max(most, flooder->pushes());
  MutexLock lock(flood.mu);
  std::printf(
      "{\"seconds\": %.2f, \"fewest\": %llu, \"most\": %llu, \"refused\": %llu, \"behaved\": %llu, "
      "\"slowest_pull\": %.3f, \"failure\": \"%s\"}\n",
      absl::ToDoubleSeconds(flood.clock->Now() - start), static_cast<unsigned long long>(least()),
      static_cast<unsigned long long>(most), static_cast<unsigned long long>(flood.refused.load()),
      static_cast<unsigned long long>(behaved.pushes), behaved.slowest_pull, flood.failure.c_str());
  EndProcess(0);  // with everything still under way
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { leeway::EndProcess(leeway::Main(argc, argv)); }
