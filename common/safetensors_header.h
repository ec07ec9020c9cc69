// The header of a safetensors file (common/safetensors.h): parsed, or made before there are values, so that each
// tensor's place in the file is known and any piece of it can be read and written at any time.
//
// The parser trusts nothing: a header of any bytes gives tensors that cover the file's data exactly, or one clear
// error.
//
// Thread safety: values, and pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/files.h"

namespace leeway {

enum class SafetensorsType { kF32, kI64 };

using SafetensorsMetadata = std::map<std::string, std::string>;

struct SafetensorsTensor {
  std::string name;
  SafetensorsType type = SafetensorsType::kF32;
  std::vector<std::int64_t> shape;  // no dimension is negative; {} is a scalar
  std::uint64_t offset = 0;         // of its first byte in the file
  std::uint64_t count = 0;          // elements

  std::uint64_t bytes() const { return count * (type == SafetensorsType::kF32 ? 4 : 8); }
};

struct SafetensorsHeader {
  std::vector<SafetensorsTensor> tensors;  // in the order of their data, which lies without holes to the file's end
  SafetensorsMetadata metadata;

  const SafetensorsTensor* Find(absl::string_view name) const;  // null: there is none
};

// The first `kSafetensorsLength` bytes say how long the JSON is that follows them.
inline constexpr std::uint64_t kSafetensorsLength = 8;

// The length of the JSON of a file of `file_size` bytes that begins with `begin`, at least its first 8 bytes if it has
// them. INVALID_ARGUMENT naming `file` and the values.
absl::StatusOr<std::uint64_t> SafetensorsJsonSize(const std::string& file, absl::string_view begin,
                                                  std::uint64_t file_size);

// The header whose JSON is `json`. INVALID_ARGUMENT naming the file, the tensor and the values; also for a tensor whose
// type is none of `allowed`.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(const std::string& file, absl::string_view json,
                                                         std::uint64_t file_size,
                                                         absl::Span<const SafetensorsType> allowed);

// The header of a file that is open, without its values; errors as above, or the file system's. `path`: for messages.
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path, RandomAccessFile& file,
                                                        absl::Span<const SafetensorsType> allowed);

// A file to be: the bytes that it begins with, and where each tensor goes.
struct SafetensorsPlan {
  std::string begin;
  std::vector<SafetensorsTensor> tensors;
  std::uint64_t file_size = 0;
};

// `tensors` with name, type and shape, in the order in which their data is to lie; the first lies at a multiple of 8.
// INVALID_ARGUMENT: a name that is used twice or reserved ("__metadata__"), a negative dimension or more than 2^63
// bytes, text that is not UTF-8, a header above 100 MB.
absl::StatusOr<SafetensorsPlan> PlanSafetensors(const std::string& file, std::vector<SafetensorsTensor> tensors,
                                                const SafetensorsMetadata& metadata);

}  // namespace leeway
