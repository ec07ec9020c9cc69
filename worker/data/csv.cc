#include "worker/data/csv.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/input_file.h"

namespace leeway {
namespace {

// Splits off the text before the next comma. Requires that *rest is not yet used up.
std::string_view NextField(std::string_view* rest, bool* last) {
  const std::size_t comma = rest->find(',');
  *last = comma == std::string_view::npos;
  const std::string_view field = Trim(rest->substr(0, comma));
  if (!*last) rest->remove_prefix(comma + 1);
  return field;
}

bool IsHeader(std::string_view line) {
  for (bool last = false; !last;) {
    if (ParseFloat(NextField(&line, &last)).has_value()) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<Dataset> LoadCsv(const std::string& path, const TextOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  std::vector<float> features;
  std::vector<std::int32_t> labels;
  std::vector<std::uint64_t> lines;  // where each record stands
  std::uint64_t width = options.num_features.value_or(0);
  Lines reader(text);
  for (std::string_view line; reader.Next(&line);) {
    if (reader.number() == 1 && IsHeader(line)) continue;
    const std::uint64_t fields = static_cast<std::uint64_t>(std::count(line.begin(), line.end(), ',')) + 1;
    if (width == 0) width = fields - 1;
    if (width == 0) {
      return FieldError(path, reader.number(), 1, absl::StrCat(Quoted(line), " is all there is: no feature follows"));
    }
    if (fields != width + 1) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": line ", reader.number(), ": has ", fields,
                                                     " fields; expected are a label and ", width, " features"));
    }
    if (features.size() + width > options.max_values) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": line ", reader.number(), ": more than ", options.max_values, " values"));
    }
    bool last = false;
    const std::string_view label_text = NextField(&line, &last);
    const std::optional<std::int32_t> label = ParseLabel(label_text);
    if (!label.has_value()) {
      return FieldError(path, reader.number(), 1, absl::StrCat(Quoted(label_text), " is not a label (a whole number)"));
    }
    for (std::uint64_t field = 2; !last; ++field) {
      const std::string_view value_text = NextField(&line, &last);
      const std::optional<float> value = ParseFloat(value_text);
      if (!value.has_value()) {
        return FieldError(path, reader.number(), field, absl::StrCat(Quoted(value_text), " is not a finite number"));
      }
      features.push_back(*value);
    }
    labels.push_back(*label);
    lines.push_back(reader.number());
  }
  ASSIGN_OR_RETURN(const std::uint32_t classes, LabelsToClasses(path, lines, options, labels));
  return Dataset::FromFloats(path, {1, 1, static_cast<std::uint32_t>(std::min<std::uint64_t>(width, UINT32_MAX))},
                             classes, std::move(features), std::move(labels));
}

}  // namespace leeway
