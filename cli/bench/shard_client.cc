#include "cli/bench/shard_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/any_transport.h"
#include "common/manifest.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "worker/client/cancellation.h"
#include "worker/client/identity.h"
#include "worker/client/join.h"
#include "worker/client/pull.h"
#include "worker/client/push.h"

namespace leeway {
namespace {

constexpr std::size_t kReplyThreads = 2;  // as the worker has
constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr float kGradient = 1e-6f;  // far from overflow after any number of pushes
constexpr std::uint32_t kSamples = 1;

// Waits for a number of callbacks; keeps the first error.
class Countdown {
 public:
  explicit Countdown(int count) : left_(count) {}

  void Arrive(absl::Status status) {
    MutexLock lock(mu_);
    status_.Update(status);
    --left_;
    changed_.NotifyAll();
  }
  absl::Status Wait() {
    MutexLock lock(mu_);
    while (left_ > 0) changed_.Wait(mu_);
    return status_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  int left_ LEEWAY_GUARDED_BY(mu_);
  absl::Status status_ LEEWAY_GUARDED_BY(mu_);
};

absl::StatusOr<Manifest> OneTensor(std::uint64_t elements) {
  v1::Manifest manifest;
  manifest.set_model("bench");
  v1::TensorSpec* tensor = manifest.add_tensors();
  tensor->set_name("weights");
  tensor->add_shape(static_cast<std::int64_t>(elements));
  return Manifest::FromProto(manifest);
}

}  // namespace

ShardClient::ShardClient(const std::string& address, const Placement& placement, const Security& security)
    : executor_(MakeThreadPool(kReplyThreads)),
      clock_(MakeSystemClock()),
      transport_(MakeTransport(security)),
      caller_(*transport_, *clock_, *executor_, address, kPatience, /*seed=*/1),
      placement_(placement),
      gradient_(std::make_shared<std::vector<float>>(placement.elements(), kGradient)),
      weights_(placement.elements(), 0.0f) {
  caller_.SetShardAddresses({address});
}

ShardClient::~ShardClient() {
  caller_.Stop();
  transport_.reset();
  clock_.reset();
}

absl::StatusOr<std::unique_ptr<ShardClient>> ShardClient::ToPeer(const std::string& address, std::uint64_t elements,
                                                                 const TlsFiles& tls) {
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(elements, 1));
  std::unique_ptr<ShardClient> client(new ShardClient(address, placement, {.tls = tls}));
  client->view_ = std::make_shared<ClusterView>(v1::JoinReply(), NewIncarnation(), [] {});
  return client;
}

absl::StatusOr<std::unique_ptr<ShardClient>> ShardClient::Join(const std::string& coordinator, const std::string& name,
                                                               std::uint64_t elements) {
  ASSIGN_OR_RETURN(const Manifest manifest, OneTensor(elements));
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(elements, 1));
  std::unique_ptr<ShardClient> client(new ShardClient(coordinator, placement, {}));
  const std::uint64_t incarnation = NewIncarnation();
  v1::JoinRequest request = JoinRequestFor({.name = name}, v1::TRAINER, manifest, incarnation);
  request.mutable_data()->set_num_records(1);
  request.mutable_data()->set_fingerprint(1);
  request.set_samples_per_step(kSamples);
  request.set_pipeline_depth(1);
  Cancellation never;
  ASSIGN_OR_RETURN(const v1::JoinReply join, JoinCluster(client->caller_, request, kPatience, never));
  RETURN_IF_ERROR(PlacementOf(join, elements).status());
  client->view_ = std::make_shared<ClusterView>(join, incarnation, [] {});
  client->next_clock_ = join.entry_clock();
  if (join.local_endpoints_size() == 1) client->local_address_ = join.local_endpoints(0).address();
  return client;
}

void ShardClient::StartPush(std::function<void(absl::Status)> done) {
  auto push = std::make_shared<leeway::Push>(
      caller_, view_, placement_, leeway::Push::Request{next_clock_++, kSamples, {{}}}, /*holds=*/0, gradient_,
      gradient_->data(), /*encoder=*/nullptr, [done = std::move(done)](const PushResult& result) {
        if (!result.status.ok()) return done(result.status);
        if (result.verdict != v1::APPLIED || result.partial) {
          return done(absl::InternalError(absl::StrCat("a push was not applied: ", result.refusal)));
        }
        done(absl::OkStatus());
      });
  for (std::uint32_t chunk = 0; chunk < placement_.ShardChunks(0); ++chunk) push->Ready({0, chunk});
}

void ShardClient::StartPull(std::function<void(absl::Status)> done) {
  leeway::Pull::Request request;
  request.clock = next_clock_;
  std::make_shared<leeway::Pull>(caller_, view_, placement_, request, weights_.data(),
                                 [done = std::move(done)](const PullResult& result) { done(result.status); })
      ->Start();
}

absl::Status ShardClient::Push() {
  Countdown countdown(1);
  StartPush([&countdown](absl::Status status) { countdown.Arrive(std::move(status)); });
  return countdown.Wait();
}

absl::Status ShardClient::Pull() {
  Countdown countdown(1);
  StartPull([&countdown](absl::Status status) { countdown.Arrive(std::move(status)); });
  return countdown.Wait();
}

absl::Status ShardClient::PushAndPull() {
  Countdown countdown(2);
  StartPush([&countdown](absl::Status status) { countdown.Arrive(std::move(status)); });
  StartPull([&countdown](absl::Status status) { countdown.Arrive(std::move(status)); });
  return countdown.Wait();
}

}  // namespace leeway
