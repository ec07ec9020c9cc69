#include "cli/checkpoint/export_weights.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/safetensors_header.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::uint64_t kAtOnce = 1 << 20;  // elements

absl::Status WriteAside(FileSystem& files, CheckpointReader& reader, const SafetensorsPlan& plan,
                        const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomWriteFile> file, files.CreateSized(path, plan.file_size));
  RETURN_IF_ERROR(file->WriteAt(0, plan.begin.data(), plan.begin.size()));
  // The tensors' data, in the manifest's order, is the model vector.
  const std::uint64_t elements = reader.checkpoint().manifest.elements();
  std::vector<float> values(std::min(kAtOnce, elements));
  for (std::uint64_t first = 0; first < elements; first += kAtOnce) {
    const std::size_t size = std::min(kAtOnce, elements - first);
    RETURN_IF_ERROR(reader.Read(0, first, absl::MakeSpan(values).first(size)));
    RETURN_IF_ERROR(file->WriteAt(plan.begin.size() + first * sizeof(float), values.data(), size * sizeof(float)));
  }
  RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

}  // namespace

absl::Status ExportWeights(FileSystem& files, CheckpointReader& reader, const std::string& path) {
  const Checkpoint& checkpoint = reader.checkpoint();
  std::vector<SafetensorsTensor> tensors;
  for (const Tensor& tensor : checkpoint.manifest.tensors()) {
    tensors.push_back({.name = tensor.name, .type = SafetensorsType::kF32, .shape = tensor.shape});
  }
  ASSIGN_OR_RETURN(const SafetensorsPlan plan,
                   PlanSafetensors(path, std::move(tensors),
                                   {{"format", "leeway"},
                                    {"model", checkpoint.manifest.model()},
                                    {"model_fingerprint", absl::StrFormat("%016x", checkpoint.manifest.fingerprint())},
                                    {"step", absl::StrCat(checkpoint.index.step())},
                                    {"run_id", absl::StrFormat("%016x", checkpoint.index.run_id())}}));
  const std::string aside = absl::StrCat(path, ".tmp");
  absl::Status status = WriteAside(files, reader, plan, aside);
  if (status.ok()) status = files.Rename(aside, path);
  if (!status.ok()) {
    files.Remove(aside).IgnoreError();  // the first error is the one to tell
    return status;
  }
  const std::string directory = std::filesystem::path(path).parent_path().string();
  return files.SyncDirectory(directory.empty() ? "." : directory);
}

}  // namespace leeway
