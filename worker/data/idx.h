// Readers of IDX files, the format of MNIST and its relatives (yann.lecun.com/exdb/mnist), plain or .gz.
//
// A file is 4 bytes of magic (0, 0, type, number of dimensions), the dimensions as big-endian 32-bit
// numbers, then the data. Images have type 8 (unsigned byte) and 3 dimensions, labels type 8 and 1.
//
// Nothing in a file is believed before it is checked: memory grows with the bytes that are really there.
//
// Thread safety: pure functions of the files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/data/dataset.h"

namespace leeway {

struct IdxOptions {
  std::uint32_t num_classes = 10;
  std::optional<Normalization> normalization;  // absent: computed from the (training) images
};

// Every error is one line that names the file, what was found and what was expected. NOT_FOUND and other
// errors of the system; INVALID_ARGUMENT: not an IDX file of this kind (images given for labels are called
// that), images and labels that differ in number, a label outside the classes; DATA_LOSS: truncated or
// corrupt data, or bytes behind it.
absl::StatusOr<Dataset> LoadIdxDataset(const std::string& images_path, const std::string& labels_path,
                                       const IdxOptions& options = {});

// Whether the files that LoadImageDirectory reads are there; nothing of them is read. Errors: its NOT_FOUND.
absl::Status CheckImageDirectory(const std::string& directory, Split split);

// The split of a directory with files named as MNIST's: train-images-idx3-ubyte, train-labels-idx1-ubyte,
// t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each plain or with .gz (plain wins). The test split is
// normalised as the training split is, so it reads the training images too, unless options say how.
// NOT_FOUND lists what was looked for; else as above.
absl::StatusOr<Dataset> LoadImageDirectory(const std::string& directory, Split split, const IdxOptions& options = {});

}  // namespace leeway
