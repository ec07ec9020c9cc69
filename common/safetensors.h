// Safetensors files (huggingface.co/docs/safetensors): a u64 little-endian header length, a JSON header
// {name: {"dtype", "shape", "data_offsets": [begin, end)}, "__metadata__": {string: string}}, then the values.
// Exported weights and --init_from use them; other tools read and write them. Whole files of F32 tensors, here;
// checkpoints, which are written and read in pieces, use common/safetensors_header.h alone.
//
// The reader trusts nothing: a file of any bytes gives tensors that cover its data exactly, or one clear error.
//
// Thread safety: SafetensorsFile is immutable; the functions are pure but for the file system.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/files.h"
#include "common/safetensors_header.h"

namespace leeway {

// A tensor to write: the product of `shape` equals values.size(); no dimension is negative; {} is a scalar.
struct SafetensorsInput {
  std::string name;
  std::vector<std::int64_t> shape;
  absl::Span<const float> values;  // the caller's memory, not copied
};

// Writes `tensors`, their data in the order given, atomically (WriteAtomically). INVALID_ARGUMENT: a name that is used
// twice or reserved ("__metadata__"), a shape that does not fit its values, text that is not UTF-8, a header above
// 100 MB; else the file system's error.
absl::Status WriteSafetensors(FileSystem& files, const std::string& path, const std::vector<SafetensorsInput>& tensors,
                              const SafetensorsMetadata& metadata = {});

class SafetensorsFile {
 public:
  using Tensor = SafetensorsTensor;

  // The whole file; the file system's error, or Parse's.
  static absl::StatusOr<SafetensorsFile> Read(FileSystem& files, const std::string& path);

  // `bytes` as a file called `file_name` (for messages). INVALID_ARGUMENT naming the file, the tensor and the values.
  static absl::StatusOr<SafetensorsFile> Parse(const std::string& file_name, std::string bytes);

  const std::vector<Tensor>& tensors() const { return header_.tensors; }  // in the order of their data
  const SafetensorsMetadata& metadata() const { return header_.metadata; }
  const Tensor* Find(const std::string& name) const { return header_.Find(name); }  // null: there is none

  // Copies elements [first, first + out.size()) of `tensor`, which is one of tensors(), to `out` (the file may have
  // placed them at any alignment). Requires first + out.size() <= tensor.count.
  void Copy(const Tensor& tensor, std::uint64_t first, absl::Span<float> out) const;

 private:
  std::string bytes_;
  SafetensorsHeader header_;
};

}  // namespace leeway
