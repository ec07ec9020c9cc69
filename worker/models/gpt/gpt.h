// Gpt: GPT-2's decoder-only transformer. Layer norm before each branch, learned positions, tanh GELU, the output head
// is the token embedding again (tied), no dropout.
//
// Its tensors have nanoGPT's names and shapes (weights [out, in]), so that what is exported is understood elsewhere.
// Initial values are GPT-2's: normal with deviation 0.02, divided by sqrt(2 layers) where a branch joins the residual
// stream; biases 0, gains 1. Matrices are of group "weight"; biases and layer norms' gains are of group "bias", which
// has no weight decay unless --group_decay says so.
//
// Thread safety and ownership: as Model.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/models/gpt/gpt_config.h"
#include "worker/models/model.h"

namespace leeway {

// `name` is for people. config.vocabulary must be known: tokens and labels are in [0, vocabulary). Batches have
// tokens [size, context] and labels [size, context], the token that follows each. INVALID_ARGUMENT: see
// Manifest::FromProto.
absl::StatusOr<std::unique_ptr<Model>> MakeGpt(const std::string& name, const GptConfig& config);

}  // namespace leeway
