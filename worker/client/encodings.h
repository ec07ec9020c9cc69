// How a worker's gradients and weights travel, as its flags say.
//
// Thread safety: pure functions.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/parameter_server.pb.h"

namespace leeway {

struct PushEncoding {
  v1::Encoding encoding = v1::F32;
  double fraction = 0;  // TOP_K: the part of a block's values that leaves, above 0, at most 1
  double momentum = 0;  // TOP_K: of DGC's momentum correction, in [0, 1); 0: none
};

// "f32", "bf16", "int8" or "top_k:FRACTION". INVALID_ARGUMENT: anything else.
absl::StatusOr<PushEncoding> ParsePushEncoding(absl::string_view text);

// "f32", "bf16" or "delta" (which is INT8 on the wire). INVALID_ARGUMENT: anything else.
absl::StatusOr<v1::Encoding> ParsePullEncoding(absl::string_view text);

}  // namespace leeway
