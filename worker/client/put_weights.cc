#include "worker/client/put_weights.h"

#include <utility>

#include "common/mutex.h"
#include "worker/client/chunk_memory.h"

namespace leeway {
namespace {

// One upload; each shard's chunks go one after the other, the shards side by side.
class Upload : public std::enable_shared_from_this<Upload> {
 public:
  Upload(Caller& caller, std::shared_ptr<ClusterView> view, const Placement& placement,
         std::shared_ptr<const void> owner, const float* weights, std::function<void(absl::Status)> done)
      : caller_(caller),
        view_(std::move(view)),
        placement_(placement),
        owner_(std::move(owner)),
        weights_(weights),
        done_(std::move(done)),
        shards_left_(placement.num_shards()) {}

  void Start() {
    for (std::uint32_t shard = 0; shard < placement_.num_shards(); ++shard) Send(shard, 0);
  }

 private:
  void Send(std::uint32_t shard, std::uint32_t chunk) {
    const ChunkRun run = placement_.Chunk(shard, chunk);
    if (chunk == placement_.ShardChunks(shard) || run.num_blocks == 0) return ShardEnded(absl::OkStatus());
    if (!caller_.MayStart(Caller::Load::kUp, [self = shared_from_this(), shard, chunk] { self->Send(shard, chunk); })) {
      return;
    }
    v1::PutWeightsRequest request;
    *request.mutable_stamp() = view_->stamp();
    *request.mutable_run() = RunToProto(run);
    caller_.Call<v1::PutWeightsReply>(
        static_cast<Target>(shard), "ParameterServer/PutWeights", request, WrapRun(placement_, run, owner_, weights_),
        [self = shared_from_this(), shard, chunk](absl::Status status, const Decoded<v1::PutWeightsReply>&) {
          if (!status.ok()) return self->ShardEnded(std::move(status));
          self->Send(shard, chunk + 1);
        },
        {.load = Caller::Load::kUp});
  }

  void ShardEnded(absl::Status status) {
    absl::Status first;
    {
      MutexLock lock(mu_);
      if (failure_.ok()) failure_ = std::move(status);
      if (--shards_left_ > 0) return;
      first = failure_;
    }
    done_(std::move(first));
  }

  Caller& caller_;
  const std::shared_ptr<ClusterView> view_;
  const Placement placement_;
  const std::shared_ptr<const void> owner_;
  const float* const weights_;
  const std::function<void(absl::Status)> done_;

  Mutex mu_;
  std::uint32_t shards_left_ LEEWAY_GUARDED_BY(mu_);
  absl::Status failure_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace

void PutWeights(Caller& caller, std::shared_ptr<ClusterView> view, const Placement& placement,
                std::shared_ptr<const void> owner, const float* weights, std::function<void(absl::Status)> done) {
  std::make_shared<Upload>(caller, std::move(view), placement, std::move(owner), weights, std::move(done))->Start();
}

}  // namespace leeway
