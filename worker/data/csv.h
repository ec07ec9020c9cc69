// Reader of numeric CSV files: one record per line, the label first, then the features, separated by commas.
//
// A first line in which no field is a number is a header and skipped. Features become a 1 x 1 x F record and
// stay as they are (no normalisation).
//
// Thread safety: a pure function of the file.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "worker/data/dataset.h"
#include "worker/data/text.h"

namespace leeway {

// Errors name file, line and field. Those of InputFile; INVALID_ARGUMENT: a field that is not a finite
// number, a label that is not a class, lines with different numbers of fields, no records, more values
// than options.max_values.
absl::StatusOr<Dataset> LoadCsv(const std::string& path, const TextOptions& options = {});

}  // namespace leeway
