#include "cli/report/format.h"

#include <cmath>

#include "absl/strings/str_format.h"

namespace leeway {

std::string EscapeHtml(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? ' ' : c;
    }
  }
  return out;
}

std::string FormatCount(std::uint64_t count) {
  std::string out = std::to_string(count);
  for (std::size_t at = out.size(); at > 3;) out.insert(at -= 3, ",");
  return out;
}

std::string FormatFixed(double value, int decimals) {
  return std::isfinite(value) ? absl::StrFormat("%.*f", decimals, value) : kNothing;
}

std::string FormatShort(double value) { return std::isfinite(value) ? absl::StrFormat("%.4g", value) : kNothing; }

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds)) return kNothing;
  if (seconds < 0) return "-" + FormatSeconds(-seconds);
  if (seconds == 0) return "0";
  if (seconds < 0.9995e-3) return absl::StrFormat("%.3g us", seconds * 1e6);
  if (seconds < 0.9995) return absl::StrFormat("%.3g ms", seconds * 1e3);
  if (seconds < 99.95) return absl::StrFormat("%.3g s", seconds);
  if (seconds < 3599.5) {
    const int whole = static_cast<int>(std::lround(seconds));
    return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
  }
  const double minutes = std::round(seconds / 60);
  return absl::StrFormat("%.0f h %02.0f min", std::floor(minutes / 60), std::fmod(minutes, 60));
}

std::string FormatBytes(double bytes) {
  if (!std::isfinite(bytes)) return kNothing;
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.3g %s", bytes, kUnits[unit]);
}

std::string FormatPercent(double part, double whole) {
  const double percent = 100 * (part / whole);
  return whole > 0 && std::isfinite(percent) ? absl::StrFormat("%.1f %%", percent) : kNothing;
}

}  // namespace leeway
