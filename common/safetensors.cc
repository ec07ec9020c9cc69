#include "common/safetensors.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace leeway {

absl::StatusOr<SafetensorsFile> SafetensorsFile::Read(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, files.Read(path));
  return Parse(path, std::move(bytes));
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(const std::string& file_name, std::string bytes) {
  ASSIGN_OR_RETURN(const std::uint64_t json_size, SafetensorsJsonSize(file_name, bytes, bytes.size()));
  SafetensorsFile file;
  ASSIGN_OR_RETURN(file.header_,
                   ParseSafetensorsHeader(file_name, absl::string_view(bytes).substr(kSafetensorsLength, json_size),
                                          bytes.size(), {SafetensorsType::kF32}));
  file.bytes_ = std::move(bytes);
  return file;
}

void SafetensorsFile::Copy(const Tensor& tensor, std::uint64_t first, absl::Span<float> out) const {
  if (out.empty()) return;
  std::memcpy(out.data(), bytes_.data() + tensor.offset + first * sizeof(float), out.size() * sizeof(float));
}

absl::Status WriteSafetensors(FileSystem& files, const std::string& path, const std::vector<SafetensorsInput>& tensors,
                              const SafetensorsMetadata& metadata) {
  std::vector<SafetensorsTensor> planned;
  for (const SafetensorsInput& tensor : tensors) {
    planned.push_back({.name = tensor.name, .type = SafetensorsType::kF32, .shape = tensor.shape});
  }
  ASSIGN_OR_RETURN(const SafetensorsPlan plan, PlanSafetensors(path, std::move(planned), metadata));
  std::vector<absl::string_view> parts = {plan.begin};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const absl::Span<const float> values = tensors[i].values;
    if (plan.tensors[i].count != values.size()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", tensors[i].name, "': shape '[",
                                                     absl::StrJoin(tensors[i].shape, ","), "]' does not fit ",
                                                     values.size(), " values"));
    }
    parts.emplace_back(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  return WriteAtomically(files, path, parts);
}

}  // namespace leeway
