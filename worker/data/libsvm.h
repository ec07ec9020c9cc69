// Reader of LibSVM files (www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets): one record per line, a label,
// then index:value pairs with indices that ascend from 1; features not named are 0. What follows a # is a
// comment.
//
// The result is dense: a 1 x 1 x F record, F the greatest index or options.num_features.
//
// Thread safety: a pure function of the file.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "worker/data/dataset.h"
#include "worker/data/text.h"

namespace leeway {

// Errors name file, line and field. Those of InputFile; INVALID_ARGUMENT: a field that is not index:value,
// an index that is 0, does not ascend or exceeds the features, a label that is not a class, no records or
// features, a dense size above options.max_values (a few sparse lines can ask for any amount of memory).
absl::StatusOr<Dataset> LoadLibsvm(const std::string& path, const TextOptions& options = {});

}  // namespace leeway
