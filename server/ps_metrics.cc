#include "server/ps_metrics.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/process_metrics.h"
#include "server/coordinator/coordinator.h"
#include "server/request_metrics.h"
#include "server/run_curves.h"
#include "server/shard_metrics.h"

namespace leeway {

std::string PsMetricsText(PsNode* node) {
  MetricsPage page;
  AddProcessMetrics("ps", &page);
  if (node == nullptr) return page.Text();
  node->Look([&page](const PsNode::Parts& parts) {
    AddShardMetrics(parts.shard, parts.journal, &page);
    parts.requests->AddTo(&page);
    if (parts.coordinator != nullptr) parts.coordinator->AddMetrics(&page);
  });
  return page.Text();
}

std::unique_ptr<TensorBoardLog> WriteCurves(const std::string& directory, PsNode* node) {
  bool coordinates = false;
  node->Look([&coordinates](const PsNode::Parts& parts) { coordinates = parts.coordinator != nullptr; });
  if (directory.empty() || !coordinates) return nullptr;
  TensorBoardLog::Options options;
  options.directory = absl::StrCat(directory, "/run");
  return std::make_unique<TensorBoardLog>(
      options, &RealFileSystem(), [node, curves = std::make_shared<RunCurves>()]() -> std::optional<Scalars> {
        std::optional<RunSample> sample;
        node->Look([&sample](const PsNode::Parts& parts) { sample = parts.coordinator->Sample(); });
        return sample ? curves->Next(absl::Now(), *sample) : std::nullopt;
      });
}

}  // namespace leeway
