// What one step of a model of --elements parameters takes, for scaling.py, which starts the `ps` and makes the table.
//
//   scaling --coordinator=HOST:PORT --elements=N --repeats=R    pulls and pushes of a worker's own client
//   scaling --apply --optimizer=sgd|adam --elements=N ...       a BlockStore alone: no network, one thread
//
// Prints one line of JSON: {"pull": [seconds...], "push": [...]} or {"apply": [...]}, of which the first, with its
// fresh memory, is left out. Memory: 8 bytes per parameter here, for weights and gradient.
#include <grpc/grpc.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/bench/shard_client.h"
#include "common/clock.h"
#include "common/end_process.h"
#include "common/flags.h"
#include "common/manifest.h"
#include "common/placement.h"
#include "common/status_macros.h"
#include "common/tune_process.h"
#include "server/block_store.h"

ABSL_FLAG(std::string, coordinator, "", "host:port of the `ps`");
ABSL_FLAG(std::uint64_t, elements, 100000, "parameters of the model");
ABSL_FLAG(int, repeats, 3, "steps that are measured");
ABSL_FLAG(bool, apply, false, "measure a BlockStore alone");
ABSL_FLAG(std::string, optimizer, "sgd", "of --apply: sgd or adam");

namespace leeway {
namespace {

absl::StatusOr<Manifest> ManifestOf(std::uint64_t elements) {
  v1::Manifest proto;
  proto.set_model("scaling");
  v1::TensorSpec& w = *proto.add_tensors();
  w.set_name("w");
  w.add_shape(static_cast<std::int64_t>(elements));
  w.mutable_initializer()->set_kind(v1::Initializer::UNIFORM);
  w.mutable_initializer()->set_a(-1);
  w.mutable_initializer()->set_b(1);
  return Manifest::FromProto(proto);
}

// Without the first.
std::string Json(const char* name, const std::vector<double>& seconds) {
  return absl::StrCat("\"", name, "\": [", absl::StrJoin(seconds.begin() + 1, seconds.end(), ", "), "]");
}

class Stopwatch {
 public:
  explicit Stopwatch(const Clock& clock) : clock_(clock), start_(clock.Now()) {}
  double Seconds() const { return absl::ToDoubleSeconds(clock_.Now() - start_); }

 private:
  const Clock& clock_;
  const Instant start_;
};

absl::StatusOr<std::string> MeasureApply(std::uint64_t elements, int repeats) {
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  ASSIGN_OR_RETURN(const Manifest manifest, ManifestOf(elements));
  ASSIGN_OR_RETURN(const Placement placement, Placement::Make(manifest.elements(), 1));
  v1::Policy policy;
  const bool adam = absl::GetFlag(FLAGS_optimizer) == "adam";
  v1::OptimizerConfig& optimizer = *policy.mutable_optimizer();
  optimizer.set_kind(adam ? v1::OptimizerConfig::ADAM : v1::OptimizerConfig::SGD);
  optimizer.set_beta1(0.9);
  optimizer.set_beta2(0.999);
  optimizer.set_epsilon(1e-8);
  ASSIGN_OR_RETURN(const std::shared_ptr<BlockStore> store, BlockStore::Make(manifest, placement, 0, policy));
  store->FillInitialValues(1, manifest);
  // 64 MiB of gradients, larger than a cache, again and again.
  constexpr std::uint32_t kGradients = 16;
  std::vector<float> gradient(kGradients * Placement::kChunkElements);
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = static_cast<float>(i % 1000) * 1e-3f;
  std::vector<double> seconds;
  for (int step = 0; step <= repeats; ++step) {
    const Stopwatch watch(*clock);
    for (std::uint32_t chunk = 0; chunk < placement.ShardChunks(0); ++chunk) {
      const ChunkRun run = placement.Chunk(0, chunk);
      const float* from = gradient.data() + chunk % kGradients * Placement::kChunkElements;
      store->Apply(run, v1::F32, Buffer::Wrap(nullptr, from, placement.RunElements(run) * sizeof(float)), 1e-3);
    }
    seconds.push_back(watch.Seconds());
  }
  return absl::StrCat("{", Json("apply", seconds), "}");
}

absl::StatusOr<std::string> MeasureCluster(std::uint64_t elements, int repeats) {
  const std::unique_ptr<Clock> clock = MakeSystemClock();
  ASSIGN_OR_RETURN(const std::unique_ptr<ShardClient> client,
                   ShardClient::Join(absl::GetFlag(FLAGS_coordinator), "scaling", elements));
  std::vector<double> pulls, pushes;
  for (int step = 0; step <= repeats; ++step) {
    const Stopwatch pull(*clock);
    RETURN_IF_ERROR(client->Pull());
    pulls.push_back(pull.Seconds());
    const Stopwatch push(*clock);
    RETURN_IF_ERROR(client->Push());
    pushes.push_back(push.Seconds());
  }
  return absl::StrCat("{", Json("pull", pulls), ", ", Json("push", pushes), "}");
}

absl::StatusOr<std::string> Measure() {
  const int repeats = absl::GetFlag(FLAGS_repeats);
  if (repeats < 1) return FlagError("repeats", absl::StrCat(repeats), "1 and above");
  const std::uint64_t elements = absl::GetFlag(FLAGS_elements);
  return absl::GetFlag(FLAGS_apply) ? MeasureApply(elements, repeats) : MeasureCluster(elements, repeats);
}

int Main(int argc, char** argv) {
  ParseFlags(argc, argv, "scaling: pulls and pushes of a model of any size; see tests/bench/scaling.py.");
  grpc_init();
  const absl::StatusOr<std::string> json = Measure();
  if (!json.ok()) ExitWithError(json.status());
  std::printf("%s\n", json->c_str());
  return 0;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) {
  leeway::TuneProcess();
  leeway::EndProcess(leeway::Main(argc, argv));
}
