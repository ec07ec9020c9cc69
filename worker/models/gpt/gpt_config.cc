#include "worker/models/gpt/gpt_config.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace leeway {
namespace {

struct NamedSize {
  const char* name;
  GptConfig config;
};

// Named by their parameters; the vocabulary is the data's: 256 bytes for all but the last, which is GPT-2 small with
// GPT-2's vocabulary of 50257.
constexpr NamedSize kNamed[] = {
    {"1m", {5, 128, 4, 128, 0}},   {"4m", {5, 256, 4, 256, 0}},      {"10m", {8, 320, 5, 256, 0}},
    {"30m", {10, 512, 8, 512, 0}}, {"124m", {12, 768, 12, 1024, 0}},
};

struct Setting {
  const char* name;
  std::int64_t GptConfig::*value;
  std::int64_t most;
};

// Large enough for any model that fits a machine, small enough that no product of them overflows.
constexpr Setting kSettings[] = {
    {"layers", &GptConfig::layers, 1024},       {"width", &GptConfig::width, 1 << 16},
    {"heads", &GptConfig::heads, 1 << 10},      {"context", &GptConfig::context, 1 << 16},
    {"vocab", &GptConfig::vocabulary, 1 << 20},
};

absl::Status Bad(const std::string& sizes, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("--model=gpt:", sizes, ": ", why));
}

absl::Status Apply(const std::string& sizes, const std::string& word, bool first, GptConfig* config) {
  for (const NamedSize& size : kNamed) {
    if (!first || word != size.name) continue;
    *config = size.config;
    return absl::OkStatus();
  }
  for (const Setting& setting : kSettings) {
    const std::string prefix = absl::StrCat(setting.name, "=");
    if (word.compare(0, prefix.size(), prefix) != 0) continue;
    std::int64_t value = 0;
    if (!absl::SimpleAtoi(word.substr(prefix.size()), &value) || value < 1 || value > setting.most) {
      return Bad(sizes, absl::StrCat("'", word, "'; allowed are ", prefix, "1 to ", setting.most));
    }
    config->*setting.value = value;
    return absl::OkStatus();
  }
  return Bad(sizes, absl::StrCat("'", word,
                                 "'; allowed are a size, 1m, 4m, 10m, 30m or 124m, then layers=, width=, heads=, "
                                 "context= and vocab=, as in gpt:10m,context=512"));
}

}  // namespace

absl::StatusOr<GptConfig> ParseGptSizes(const std::string& sizes) {
  GptConfig config = kNamed[0].config;
  bool first = true;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(sizes, ','))) {
    if (absl::Status status = Apply(sizes, word, first, &config); !status.ok()) return status;
    first = false;
  }
  if (config.width % config.heads != 0) {
    return Bad(sizes, absl::StrCat("width ", config.width, " is no multiple of heads ", config.heads));
  }
  return config;
}

}  // namespace leeway
