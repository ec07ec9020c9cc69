#include "server/ps_routes.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace leeway {

void PsRoutes::Handle(const std::string& method, Buffer request, ReplyCallback done) {
  constexpr char kCoordinator[] = "Coordinator/", kStore[] = "CheckpointStore/";
  const bool of_store = absl::StartsWith(method, kStore);
  if (of_store || absl::StartsWith(method, kCoordinator)) {
    if (parts_.coordinator == nullptr) {
      return done(absl::FailedPreconditionError(absl::StrCat(
                      "this is ps ", parts_.shard_index, "; the coordinator is ps 0, at ", parts_.coordinator_address)),
                  {});
    }
    if (!of_store) return parts_.coordinator->Handle(method.substr(sizeof(kCoordinator) - 1), request, std::move(done));
    if (parts_.store != nullptr) {
      return parts_.store->Handle(method.substr(sizeof(kStore) - 1), std::move(request), std::move(done));
    }
    return done(absl::FailedPreconditionError("ps 0 has no --checkpoint_dir: allowed: one there, which keeps the "
                                              "checkpoints, or none here"),
                {});
  }
  if (method == "ParameterServer/Pull") return parts_.shard->Pull(request, std::move(done));
  if (method == "ParameterServer/Push") return parts_.shard->Push(request, std::move(done));
  if (method == "ParameterServer/PushPull") return parts_.shard->PushPull(request, std::move(done));
  if (method == "ParameterServer/PutWeights") return parts_.shard->PutWeights(request, std::move(done));
  if (method == "ParameterServer/WatchRound") return parts_.shard->WatchRound(request, std::move(done));
  done(absl::UnimplementedError("ps: no method '" + method + "'"), {});
}

}  // namespace leeway
