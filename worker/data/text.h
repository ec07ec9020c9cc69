// What the readers of text data (CSV, LibSVM) have in common: lines, numbers, limits.
//
// Thread safety: pure functions; Lines is for one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leeway {

struct TextOptions {
  std::optional<std::uint32_t> num_features;          // positive; absent: what the file has
  std::optional<std::uint32_t> num_classes;           // absent: the greatest label + 1
  std::uint64_t max_values = std::uint64_t{1} << 32;  // records x features: 16 GiB of float32
};

// The lines of a text in their order, without their ends (\n or \r\n), a byte order mark, or the spaces and
// tabs around them; empty lines are left out, but counted.
class Lines {
 public:
  explicit Lines(std::string_view text);  // which must outlive this object
  // False behind the last line.
  bool Next(std::string_view* line);
  std::uint64_t number() const { return number_; }  // of the line that Next gave; the first is 1

 private:
  std::string_view rest_;
  std::uint64_t number_ = 0;
};

std::string_view Trim(std::string_view text);  // without spaces and tabs around it

// "'abc'" for an error message: shortened, unprintable bytes escaped.
std::string Quoted(std::string_view text);

// A finite float32 in decimal notation, nothing around it but an optional +.
std::optional<float> ParseFloat(std::string_view text);

// A whole number in decimal notation ("3", "+3", "3.0", "3e0") as a label: -1 to 65535.
std::optional<std::int32_t> ParseLabel(std::string_view text);

// "PATH: line 3, field 7: " + what.
absl::Status FieldError(const std::string& path, std::uint64_t line, std::uint64_t field, const std::string& what);

// Checks the labels of a file (lines[i] is where record i stood) and turns them into classes: whole numbers from
// 0, or the -1 and +1 of two-class files, which become 0 and 1. Returns the number of classes, at least 2
// unless options say otherwise. INVALID_ARGUMENT: no records, a label that does not fit the others or
// options.num_classes.
absl::StatusOr<std::uint32_t> LabelsToClasses(const std::string& path, const std::vector<std::uint64_t>& lines,
                                              const TextOptions& options, std::vector<std::int32_t>& labels);

}  // namespace leeway
