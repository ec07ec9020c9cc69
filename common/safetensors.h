// Safetensors files (huggingface.co/docs/safetensors): a u64 little-endian header length, a JSON header
// {name: {"dtype", "shape", "data_offsets": [begin, end)}, "__metadata__": {string: string}}, then the values.
// Checkpoints, exported weights and --init_from use them; other tools read and write them. Only F32 here.
//
// The reader trusts nothing: a file of any bytes gives tensors that cover its data exactly, or one clear error.
//
// Thread safety: SafetensorsFile is immutable; the functions are pure but for the file system.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/files.h"

namespace leeway {

// A tensor to write: the product of `shape` equals values.size(); no dimension is negative; {} is a scalar.
struct SafetensorsInput {
  std::string name;
  std::vector<std::int64_t> shape;
  absl::Span<const float> values;  // the caller's memory, not copied
};

using SafetensorsMetadata = std::map<std::string, std::string>;

// Writes `tensors`, their data in the order given, atomically (WriteAtomically). INVALID_ARGUMENT: a name that is used
// twice or reserved ("__metadata__"), a shape that does not fit its values, text that is not UTF-8, a header above
// 100 MB; else the file system's error.
absl::Status WriteSafetensors(FileSystem& files, const std::string& path, const std::vector<SafetensorsInput>& tensors,
                              const SafetensorsMetadata& metadata = {});

class SafetensorsFile {
 public:
  struct Tensor {
    std::string name;
    std::vector<std::int64_t> shape;
    std::uint64_t offset = 0;  // of its first byte in the file
    std::uint64_t count = 0;   // elements
  };

  // The whole file; the file system's error, or Parse's.
  static absl::StatusOr<SafetensorsFile> Read(FileSystem& files, const std::string& path);

  // `bytes` as a file called `file_name` (for messages). INVALID_ARGUMENT naming the file, the tensor and the values.
  static absl::StatusOr<SafetensorsFile> Parse(const std::string& file_name, std::string bytes);

  const std::vector<Tensor>& tensors() const { return tensors_; }  // in the order of their data
  const SafetensorsMetadata& metadata() const { return metadata_; }
  const Tensor* Find(const std::string& name) const;  // null: there is none

  // Copies elements [first, first + out.size()) of `tensor`, which is one of tensors(), to `out` (the file may have
  // placed them at any alignment). Requires first + out.size() <= tensor.count.
  void Copy(const Tensor& tensor, std::uint64_t first, absl::Span<float> out) const;

 private:
  std::string bytes_;
  std::vector<Tensor> tensors_;
  SafetensorsMetadata metadata_;
};

}  // namespace leeway
