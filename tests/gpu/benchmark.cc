// benchmark [--device=cuda:N] [--only=GROUP,...] [--tiny] [--verbose]: what the CUDA backend reaches, next to what the
// machine can do. The groups are memory, encodings, attention, steps, graphs and products (groups.h).
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/gpu/groups.h"

namespace leeway {
namespace {

struct Group {
  const char* name;
  std::string (*run)(Benchmark&);
};
constexpr Group kGroups[] = {
    {"memory", BenchmarkMemory}, {"encodings", BenchmarkEncodings}, {"attention", BenchmarkAttention},
    {"steps", BenchmarkSteps},   {"graphs", BenchmarkGraphs},       {"products", BenchmarkProducts},
};

std::string GroupNames() {
  return absl::StrJoin(kGroups, ", ", [](std::string* out, const Group& group) { out->append(group.name); });
}

// In the order in which they run.
absl::StatusOr<std::vector<Group>> ParseGroups(absl::string_view names) {
  std::vector<Group> groups;
  const std::vector<absl::string_view> words = absl::StrSplit(names, ',');
  for (const Group& group : kGroups) {
    if (std::find(words.begin(), words.end(), group.name) != words.end()) groups.push_back(group);
  }
  for (const absl::string_view word : words) {
    const auto is_named = [word](const Group& group) { return word == group.name; };
    if (std::none_of(groups.begin(), groups.end(), is_named)) {
      return absl::InvalidArgumentError(absl::StrCat("--only: '", word, "'; allowed are ", GroupNames()));
    }
  }
  return groups;
}

struct Flags {
  Benchmark::Options options;
  std::vector<Group> groups{std::begin(kGroups), std::end(kGroups)};
};

absl::Status ParseFlag(absl::string_view word, Flags* flags) {
  if (word == "--tiny") {
    flags->options.tiny = true;
    return absl::OkStatus();
  }
  if (word == "--verbose") {
    flags->options.verbose = true;
    return absl::OkStatus();
  }
  if (absl::ConsumePrefix(&word, "--only=")) {
    absl::StatusOr<std::vector<Group>> groups = ParseGroups(word);
    if (groups.ok()) flags->groups = *std::move(groups);
    return groups.status();
  }
  absl::string_view number = word;
  if (absl::ConsumePrefix(&number, "--device=cuda:") && absl::SimpleAtoi(number, &flags->options.cuda.device) &&
      flags->options.cuda.device >= 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", word, "'; allowed are --device=cuda:N, --only=GROUP,..., --tiny, --verbose"));
}

int Main(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    if (const absl::Status status = ParseFlag(argv[i], &flags); !status.ok()) {
      std::fprintf(stderr, "benchmark: %s\n", std::string(status.message()).c_str());
      return 2;
    }
  }
  Benchmark bench(flags.options);
  std::printf("%s\n", bench.backend().description().c_str());
  std::vector<std::string> results;
  for (const Group& group : flags.groups) {
    std::printf("== %s\n", group.name);
    results.push_back(group.run(bench));
    std::fflush(stdout);
  }
  std::printf("result: %s\n", absl::StrJoin(results, "; ").c_str());
  return 0;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { return leeway::Main(argc, argv); }
