#include "worker/trainer/best_weights.h"

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/safetensors_header.h"
#include "worker/trainer/weights_file.h"

namespace leeway {
namespace {

std::string RunId(std::uint64_t run_id) { return absl::StrFormat("%016x", run_id); }
std::string Exactly(double value) { return absl::StrFormat("%.17g", value); }

// "" where it has no such entry.
std::string Entry(const SafetensorsMetadata& metadata, const std::string& name) {
  const auto it = metadata.find(name);
  return it == metadata.end() ? "" : it->second;
}

}  // namespace

absl::Status SaveBestWeights(FileSystem& files, const std::string& path, const Manifest& manifest, const float* weights,
                             std::uint64_t run_id, const v1::Evaluation& evaluation) {
  return SaveWeights(files, path, manifest, weights,
                     {{"run_id", RunId(run_id)},
                      {"samples", absl::StrCat(evaluation.samples())},
                      {"loss", Exactly(evaluation.loss())},
                      {"accuracy", Exactly(evaluation.accuracy())}});
}

std::optional<v1::Evaluation> SavedBest(FileSystem& files, const std::string& path, std::uint64_t run_id) {
  const absl::StatusOr<std::unique_ptr<RandomAccessFile>> file = files.Open(path);
  if (!file.ok()) return std::nullopt;
  const absl::StatusOr<SafetensorsHeader> header = ReadSafetensorsHeader(path, **file, {SafetensorsType::kF32});
  if (!header.ok() || Entry(header->metadata, "run_id") != RunId(run_id)) return std::nullopt;
  std::uint64_t samples = 0;
  double loss = 0, accuracy = 0;
  if (!absl::SimpleAtoi(Entry(header->metadata, "samples"), &samples) ||
      !absl::SimpleAtod(Entry(header->metadata, "loss"), &loss) ||
      !absl::SimpleAtod(Entry(header->metadata, "accuracy"), &accuracy)) {
    return std::nullopt;
  }
  v1::Evaluation evaluation;
  evaluation.set_samples(samples);
  evaluation.set_loss(loss);
  evaluation.set_accuracy(accuracy);
  return evaluation;
}

}  // namespace leeway
