// parity [--device=cuda:0] [--only=GROUP] [--small] [--once] [--tf32] [--all]: every op of that device against the
// reference (tests/gpu/parity.h), or those of one group (ops, transformer, attention, vector). Prints what failed
// (--all: every case, with its largest error in tolerances), then one line that begins with "result:".
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "kernels/device.h"
#include "tests/gpu/parity.h"

namespace leeway {
namespace {

int Main(int argc, char** argv) {
  std::string device = "cuda:0", only;
  Parity::Options options;
  bool all = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.compare(0, 9, "--device=") == 0) {
      device = word.substr(9);
    } else if (word.compare(0, 7, "--only=") == 0) {
      only = word.substr(7);
    } else if (word == "--small") {
      options.small = true;
    } else if (word == "--once") {
      options.once = true;
    } else if (word == "--tf32") {
      options.tf32 = true;
    } else if (word == "--all") {
      all = true;
    } else {
      std::fprintf(stderr, "parity: %s: allowed are --device=NAME, --only=GROUP, --small, --once, --tf32, --all\n",
                   argv[i]);
      return 2;
    }
  }
  const absl::StatusOr<std::unique_ptr<Backend>> backend = MakeBackend(device, 1, options.tf32);
  if (!backend.ok()) {
    std::fprintf(stderr, "%s\n", backend.status().ToString().c_str());
    return 2;
  }
  std::printf("%s\n", (*backend)->description().c_str());
  Parity parity(**backend, options);
  if (only.empty()) {
    parity.RunAll();
  } else if (const absl::Status status = parity.RunGroup(only); !status.ok()) {
    std::fprintf(stderr, "parity: --only: %s\n", std::string(status.message()).c_str());
    return 2;
  }
  int failed = 0;
  double worst = 0;
  for (const ParityRow& row : parity.rows()) {
    if (!row.failure.empty()) {
      ++failed;
      std::printf("FAILED %s: %s\n", row.name.c_str(), row.failure.c_str());
    } else if (all) {
      std::printf("ok %-60s %.3f\n", row.name.c_str(), row.worst);
    }
    worst = std::max(worst, row.worst);
  }
  std::printf("result: %d of %zu cases failed; the largest error of the others is %.2f of its tolerance\n", failed,
              parity.rows().size(), worst);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { return leeway::Main(argc, argv); }
