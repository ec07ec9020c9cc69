#include "worker/data/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

constexpr std::int32_t kMaxLabel = 65535;
constexpr std::size_t kMaxQuoted = 40;

std::optional<double> ParseDouble(std::string_view text) {
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
    if (!text.empty() && text.front() == '-') return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

Lines::Lines(std::string_view text) : rest_(text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (rest_.substr(0, kByteOrderMark.size()) == kByteOrderMark) rest_.remove_prefix(kByteOrderMark.size());
}

bool Lines::Next(std::string_view* line) {
  while (!rest_.empty()) {
    ++number_;
    const std::size_t end = rest_.find('\n');
    *line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (!line->empty() && line->back() == '\r') line->remove_suffix(1);
    *line = Trim(*line);
    if (!line->empty()) return true;
  }
  return false;
}

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

std::string Quoted(std::string_view text) {
  const std::string shown(text.substr(0, kMaxQuoted));
  return absl::StrCat("'", absl::CHexEscape(shown), text.size() > kMaxQuoted ? "...'" : "'");
}

std::optional<float> ParseFloat(std::string_view text) {
  const std::optional<double> value = ParseDouble(text);
  if (!value.has_value() || std::abs(*value) > std::numeric_limits<float>::max()) return std::nullopt;
  return static_cast<float>(*value);
}

std::optional<std::int32_t> ParseLabel(std::string_view text) {
  const std::optional<double> value = ParseDouble(text);
  if (!value.has_value() || *value != std::floor(*value) || *value < -1 || *value > kMaxLabel) return std::nullopt;
  return static_cast<std::int32_t>(*value);
}

absl::Status FieldError(const std::string& path, std::uint64_t line, std::uint64_t field, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": line ", line, ", field ", field, ": ", what));
}

absl::StatusOr<std::uint32_t> LabelsToClasses(const std::string& path, const std::vector<std::uint64_t>& lines,
                                              const TextOptions& options, std::vector<std::int32_t>& labels) {
  if (labels.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": there is no record"));
  const auto negative = std::find(labels.begin(), labels.end(), -1);
  if (negative != labels.end()) {
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] != -1 && labels[i] != 1) {
        return FieldError(path, lines[i], 1,
                          absl::StrCat("the label is ", labels[i], ", but line ", lines[negative - labels.begin()],
                                       " has -1; such a file may hold only -1 and +1"));
      }
      labels[i] = labels[i] == 1 ? 1 : 0;
    }
  }
  const auto greatest = std::max_element(labels.begin(), labels.end());
  const std::uint32_t needed = static_cast<std::uint32_t>(*greatest) + 1;
  const std::uint32_t classes = options.num_classes.value_or(std::max(needed, 2u));
  if (needed > classes) {
    return FieldError(path, lines[greatest - labels.begin()], 1,
                      absl::StrCat("the label is ", *greatest, "; allowed are 0 to ", int64_t{classes} - 1));
  }
  return classes;
}

}  // namespace leeway
