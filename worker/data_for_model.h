// What joins data and models: a data set cut as a model wants it, and the model for a data set.
//
// Thread safety: pure functions of the files.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/data/dataset.h"
#include "worker/models/model_name.h"
#include "worker/models/registry.h"

namespace leeway {

// `data` is what --data says (worker/data/load.h); texts are cut into sequences of the model's context. Errors:
// LoadDataset's and ParseModelName's.
absl::StatusOr<Dataset> LoadDataFor(const std::string& model, const std::string& data, Split split);

// INVALID_ARGUMENT, with flags and values: a model of tokens with data that are none, or the other way round. Reads
// nothing.
absl::Status CheckModelTakes(const std::string& model, const std::string& data);

ModelSpec ModelSpecFor(const std::string& model, const Dataset& data);

}  // namespace leeway
