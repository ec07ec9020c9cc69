#include "cli/checkpoint/checkpoint_diff.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/report/format.h"
#include "common/status_macros.h"
#include "common/utf8.h"

namespace leeway {
namespace {

constexpr std::uint64_t kAtOnce = 1 << 20;  // elements

void Compare(float a, float b, std::uint64_t index, TensorDiff& diff) {
  if (std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b)) return;
  double distance = std::abs(double{a} - double{b});
  if (std::isnan(distance)) distance = std::numeric_limits<double>::infinity();
  ++diff.different;
  if (diff.different > 1 && distance <= diff.max_abs) return;
  diff.max_abs = distance;
  diff.worst = index;
  diff.a = a;
  diff.b = b;
}

}  // namespace

absl::StatusOr<std::vector<TensorDiff>> DiffCheckpoints(CheckpointReader& a, CheckpointReader& b) {
  const Manifest& manifest = a.checkpoint().manifest;
  if (manifest.fingerprint() != b.checkpoint().manifest.fingerprint()) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "other models: %s is of %s (fingerprint %016x), %s of %s (%016x)", a.directory(), manifest.model(),
        manifest.fingerprint(), b.directory(), b.checkpoint().manifest.model(), b.checkpoint().manifest.fingerprint()));
  }
  if (a.tensors() != b.tensors()) {
    return absl::FailedPreconditionError(absl::StrCat("other optimizers: ", a.directory(), " has ", a.tensors() - 1,
                                                      " slots, ", b.directory(), " has ", b.tensors() - 1));
  }
  std::vector<TensorDiff> diffs;
  std::vector<float> from_a(kAtOnce), from_b(kAtOnce);
  for (std::uint32_t plane = 0; plane < a.tensors(); ++plane) {
    for (const Tensor& tensor : manifest.tensors()) {
      TensorDiff diff;
      diff.name = plane == 0 ? tensor.name : absl::StrCat(tensor.name, " ", TensorName(plane));
      diff.elements = tensor.count;
      for (std::uint64_t first = 0; first < tensor.count; first += kAtOnce) {
        const std::size_t size = std::min(kAtOnce, tensor.count - first);
        RETURN_IF_ERROR(a.Read(plane, tensor.offset + first, absl::MakeSpan(from_a).first(size)));
        RETURN_IF_ERROR(b.Read(plane, tensor.offset + first, absl::MakeSpan(from_b).first(size)));
        for (std::size_t i = 0; i < size; ++i) Compare(from_a[i], from_b[i], first + i, diff);
      }
      diffs.push_back(std::move(diff));
    }
  }
  return diffs;
}

std::string DiffTable(const std::vector<TensorDiff>& diffs) {
  std::size_t width = 6;
  for (const TensorDiff& diff : diffs) width = std::max(width, EscapeUnprintable(diff.name).size());
  const int columns = static_cast<int>(width);
  std::string table =
      absl::StrFormat("%-*s  %12s  %12s  %11s  %s\n", columns, "tensor", "elements", "different", "max |a-b|", "worst");
  for (const TensorDiff& diff : diffs) {
    absl::StrAppendFormat(&table, "%-*s  %12s  %12s  %11.4g", columns, EscapeUnprintable(diff.name),
                          FormatCount(diff.elements), FormatCount(diff.different), diff.max_abs);
    if (diff.different > 0) absl::StrAppendFormat(&table, "  [%d] %.9g, %.9g", diff.worst, diff.a, diff.b);
    table += "\n";
  }
  return table;
}

std::string DiffJson(const std::vector<TensorDiff>& diffs) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const TensorDiff& diff : diffs) {
    nlohmann::ordered_json row = {{"name", diff.name}, {"elements", diff.elements}, {"different", diff.different}};
    row["max_abs"] = diff.max_abs;  // null: infinite, one of the two is no number
    if (diff.different > 0) row["worst"] = {{"element", diff.worst}, {"a", diff.a}, {"b", diff.b}};
    list.push_back(std::move(row));
  }
  return list.dump(2) + "\n";
}

}  // namespace leeway
