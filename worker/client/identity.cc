#include "worker/client/identity.h"

#include "absl/strings/str_cat.h"
#include "common/random_id.h"
#include "common/status_macros.h"

namespace leeway {

std::uint64_t NewIncarnation() { return RandomId(); }

v1::JoinRequest JoinRequestFor(const Identity& identity, v1::Role role, const Manifest& manifest,
                               std::uint64_t incarnation) {
  v1::JoinRequest request;
  request.set_protocol_version(identity.protocol_version);
  request.set_name(identity.name);
  request.set_incarnation(incarnation);
  request.set_role(role);
  *request.mutable_manifest() = manifest.ToProto();
  request.set_model_fingerprint(manifest.fingerprint());
  request.set_num_shards(identity.num_shards);
  request.set_rank(identity.rank);
  return request;
}

absl::StatusOr<Placement> PlacementOf(const v1::JoinReply& join, std::uint64_t elements) {
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(elements, join.num_shards()));
  if (join.block_elements() == placement.block_elements() && join.chunk_elements() == Placement::kChunkElements) {
    return placement;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the cluster cuts the model into blocks of ", join.block_elements(), " and chunks of ",
                   join.chunk_elements(), " elements, this worker into blocks of ", placement.block_elements(),
                   " and chunks of ", Placement::kChunkElements, ": the binaries differ"));
}

}  // namespace leeway
