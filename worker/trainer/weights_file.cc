#include "worker/trainer/weights_file.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "common/safetensors.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ","), "]");
}

}  // namespace

absl::Status SaveWeights(FileSystem& files, const std::string& path, const Manifest& manifest, const float* weights,
                         SafetensorsMetadata more) {
  std::vector<SafetensorsInput> inputs;
  for (const Tensor& tensor : manifest.tensors()) {
    inputs.push_back({tensor.name, tensor.shape, absl::MakeConstSpan(weights + tensor.offset, tensor.count)});
  }
  more["format"] = "leeway";
  more["model"] = manifest.model();
  return WriteSafetensors(files, path, inputs, more);
}

absl::StatusOr<std::shared_ptr<const std::vector<float>>> LoadWeights(FileSystem& files, const std::string& path,
                                                                      const Manifest& manifest) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Read(files, path));
  for (const SafetensorsFile::Tensor& found : file.tensors()) {
    bool known = false;
    for (const Tensor& tensor : manifest.tensors()) known = known || tensor.name == found.name;
    if (!known) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor '", found.name, "' is not one of the model '", manifest.model(), "'"));
    }
  }
  auto weights = std::make_shared<std::vector<float>>(manifest.elements());
  for (const Tensor& tensor : manifest.tensors()) {
    const SafetensorsFile::Tensor* found = file.Find(tensor.name);
    if (found == nullptr)
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", tensor.name, "' is missing"));
    if (found->shape != tensor.shape) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", tensor.name, "' has shape ",
                                                     ShapeText(found->shape), "; the model's is ",
                                                     ShapeText(tensor.shape)));
    }
    file.Copy(*found, 0, absl::MakeSpan(weights->data() + tensor.offset, tensor.count));
    for (std::uint64_t i = 0; i < tensor.count; ++i) {
      if (std::isfinite((*weights)[tensor.offset + i])) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor '", tensor.name, "' holds ", (*weights)[tensor.offset + i], " at element ", i));
    }
  }
  return std::shared_ptr<const std::vector<float>>(std::move(weights));
}

}  // namespace leeway
