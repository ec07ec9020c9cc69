#include "worker/data/libsvm.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/input_file.h"

namespace leeway {
namespace {

constexpr std::uint32_t kMaxFeatures = 1 << 20;  // a dense reader is no use beyond

struct Entry {
  std::uint32_t index;  // from 1
  float value;
};

// Splits off the text before the next space or tab. Requires a trimmed, non-empty *rest; leaves it trimmed.
std::string_view NextWord(std::string_view* rest) {
  const std::string_view word = rest->substr(0, rest->find_first_of(" \t"));
  *rest = Trim(rest->substr(word.size()));
  return word;
}

bool ParseEntry(std::string_view word, Entry* entry) {
  const std::size_t colon = word.find(':');
  if (colon == std::string_view::npos) return false;
  const char* const index_end = word.data() + colon;
  const auto [end, error] = std::from_chars(word.data(), index_end, entry->index);
  const std::optional<float> value = ParseFloat(word.substr(colon + 1));
  if (error != std::errc() || end != index_end || !value.has_value()) return false;
  entry->value = *value;
  return true;
}

}  // namespace

absl::StatusOr<Dataset> LoadLibsvm(const std::string& path, const TextOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  std::vector<Entry> entries;
  std::vector<std::size_t> ends;  // of each record in `entries`
  std::vector<std::int32_t> labels;
  std::vector<std::uint64_t> lines;
  const std::uint32_t allowed = std::min(options.num_features.value_or(kMaxFeatures), kMaxFeatures);
  std::uint32_t greatest = 0;
  Lines reader(text);
  for (std::string_view line; reader.Next(&line);) {
    line = Trim(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const std::string_view label_text = NextWord(&line);
    const std::optional<std::int32_t> label = ParseLabel(label_text);
    if (!label.has_value()) {
      return FieldError(path, reader.number(), 1, absl::StrCat(Quoted(label_text), " is not a label (a whole number)"));
    }
    std::uint32_t previous = 0;
    for (std::uint64_t field = 2; !line.empty(); ++field) {
      const std::string_view word = NextWord(&line);
      Entry entry;
      if (!ParseEntry(word, &entry)) {
        return FieldError(path, reader.number(), field,
                          absl::StrCat(Quoted(word), " is not index:value with a finite value"));
      }
      if (entry.index <= previous || entry.index > allowed) {
        return FieldError(path, reader.number(), field,
                          absl::StrCat("the index is ", entry.index, "; allowed here are ", previous + 1, " to ",
                                       allowed, " (indices count from 1 and ascend)"));
      }
      previous = entry.index;
      entries.push_back(entry);
    }
    greatest = std::max(greatest, previous);
    labels.push_back(*label);
    lines.push_back(reader.number());
    ends.push_back(entries.size());
  }
  ASSIGN_OR_RETURN(const std::uint32_t classes, LabelsToClasses(path, lines, options, labels));
  const std::uint64_t width = options.num_features.has_value() ? allowed : greatest;
  if (width == 0) return absl::InvalidArgumentError(absl::StrCat(path, ": no record has a feature"));
  if (labels.size() > options.max_values / width) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", labels.size(), " records of ", width,
                                                   " features are too many to hold densely; at most ",
                                                   options.max_values, " values are allowed"));
  }
  RETURN_IF_ERROR(CheckFits(path, labels.size() * width * sizeof(float)));
  std::vector<float> features(labels.size() * width, 0.0f);
  std::size_t next = 0;
  for (std::size_t record = 0; record < ends.size(); ++record) {
    for (; next < ends[record]; ++next) features[record * width + entries[next].index - 1] = entries[next].value;
  }
  return Dataset::FromFloats(path, {1, 1, static_cast<std::uint32_t>(width)}, classes, std::move(features),
                             std::move(labels));
}

}  // namespace leeway
