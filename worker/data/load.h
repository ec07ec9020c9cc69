// LoadDataset, CheckDataset: the one place that understands what --data says.
//
//   DIR or idx:DIR           the four MNIST-like files, plain or .gz (idx.h)
//   csv:TRAIN[,TEST]         numeric text, label first (csv.h)
//   libsvm:TRAIN[,TEST]      sparse text (libsvm.h)
//   synthetic:RECORDS        made up, seeded, learnable images (synthetic.h)
//   tokens:FILE[,TEST]       text, byte by byte, or files of tokens (tokens.h), for models of tokens
//
// A file name of csv:, libsvm: and tokens: must not contain a comma.
//
// Thread safety: pure functions of the files.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/data/dataset.h"
#include "worker/data/tokens.h"

namespace leeway {

// Whether LoadDataset could begin: the spec is one of the above, and the files that it names are there. Reads nothing
// of them. Errors: as LoadDataset's.
absl::Status CheckDataset(const std::string& spec, Split split);

// The test split is in the training split's terms: normalised by its mean and deviation, with its features
// and classes. Errors are those of the readers, and INVALID_ARGUMENT for a spec that is not one of the
// above or that names no test file when one is asked for (tokens: splits the one file then).
absl::StatusOr<Dataset> LoadDataset(const std::string& spec, Split split, const TokenOptions& tokens = {});

}  // namespace leeway
