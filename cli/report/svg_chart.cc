#include "cli/report/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/report/format.h"

namespace leeway {
namespace {

// In the units of the view box; a chart is shown at about this size, on a phone a little smaller.
constexpr double kWidth = 460, kHeight = 230;
constexpr double kLeft = 52, kRight = 12, kTop = 12, kBottom = 38;
constexpr double kPlotWidth = kWidth - kLeft - kRight, kPlotHeight = kHeight - kTop - kBottom;
constexpr std::size_t kMaxBars = 40;
constexpr double kLargest = 1e150, kSmallest = 1e-150;

// Maps [low, high] to the plot.
struct Axis {
  double low = 0;
  double high = 1;

  double Share(double value) const { return (value - low) / (high - low); }
};

double X(double share) { return kLeft + share * kPlotWidth; }
double Y(double share) { return kTop + (1 - share) * kPlotHeight; }

// False for NaN, too. Beyond the limit the arithmetic of axes would overflow.
bool Drawable(const Point& p) { return std::abs(p.x) < kLargest && std::abs(p.y) < kLargest; }

std::string Open(const std::string& title) {
  return absl::StrFormat("<svg class=\"chart\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">\n", kWidth,
                         kHeight, EscapeHtml(title));
}

std::string Text(double x, double y, const char* anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, EscapeHtml(text));
}

std::string Figure(const std::string& title, const std::string& legend, const std::string& svg) {
  return absl::StrCat("<figure>\n<figcaption>", EscapeHtml(title), legend, "</figcaption>\n", svg, "</figure>\n");
}

std::string NoData(const std::string& title) {
  return Figure(title, "", Open(title) + Text(kWidth / 2, kHeight / 2, "middle", "no data yet") + "</svg>\n");
}

std::string YAxis(const Axis& axis, const std::function<std::string(double)>& text) {
  std::string out;
  for (double tick : RoundTicks(axis.low, axis.high, 5)) {
    const double y = Y(axis.Share(tick));
    absl::StrAppendFormat(&out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", kLeft,
                          kWidth - kRight, y, y);
    out += Text(kLeft - 6, y + 4, "end", text(tick));
  }
  return out;
}

std::string XLabel(const std::string& label) { return Text(kLeft + kPlotWidth / 2, kHeight - 5, "middle", label); }

// The range of the drawable points' x or y values, widened where it is a single value.
Axis Range(const std::vector<Series>& series, double Point::*member, double margin) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Series& one : series) {
    for (const Point& p : one.points) {
      if (!Drawable(p)) continue;
      low = std::min(low, p.*member);
      high = std::max(high, p.*member);
    }
  }
  const double size = std::max(std::abs(low), std::abs(high));
  if (high - low <= size * 1e-9 || size < kSmallest) {
    const double around = size < kSmallest ? 1 : size * 0.1;
    return {low - around, high + around};
  }
  const double room = (high - low) * margin;
  return {low - room, high + room};
}

std::string Line(const Series& series, const Axis& x, const Axis& y, const LineChart& chart) {
  std::string path, dots;
  bool pen_down = false;
  for (std::size_t i = 0; i < series.points.size(); ++i) {
    const Point& p = series.points[i];
    if (!Drawable(p)) {
      pen_down = false;
      continue;
    }
    const double px = X(x.Share(p.x)), py = Y(y.Share(p.y));
    absl::StrAppendFormat(&path, "%s%.1f %.1f", pen_down ? "L" : "M", px, py);
    const bool lonely = !pen_down && (i + 1 == series.points.size() || !Drawable(series.points[i + 1]));
    pen_down = true;
    if (series.dots || lonely) {
      absl::StrAppendFormat(
          &dots, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>%s</title></circle>\n",
          series.css_class, px, py,
          EscapeHtml(absl::StrCat(series.name, ": ", chart.y_text(p.y), " at ", FormatShort(p.x), " ", chart.x_label)));
    }
  }
  return absl::StrFormat("<path class=\"line %s\" d=\"%s\"/>\n%s", series.css_class, path, dots);
}

}  // namespace

std::vector<double> RoundTicks(double low, double high, int count) {
  const double raw = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= raw * 0.999) step = factor * power;
  }
  std::vector<double> ticks;
  if (!(step > 0) || !std::isfinite(step)) return ticks;
  const double first = std::ceil(low / step - 1e-9);
  for (int i = 0; i <= 2 * count + 1; ++i) {
    const double tick = (first + i) * step;
    if (tick > high + step * 1e-9) break;
    ticks.push_back(tick == 0 ? 0 : tick);  // no -0
  }
  return ticks;
}

std::string RenderLineChart(const LineChart& chart) {
  bool any = false;
  std::string legend;
  for (const Series& series : chart.series) {
    const bool some = std::any_of(series.points.begin(), series.points.end(), Drawable);
    any = any || some;
    if (chart.series.size() > 1 && some) {
      absl::StrAppend(&legend, " <span class=\"key\"><i class=\"", series.css_class, "\"></i>", EscapeHtml(series.name),
                      "</span>");
    }
  }
  if (!any) return NoData(chart.title);
  Axis x = Range(chart.series, &Point::x, 0);
  // Time begins at 0 even if the first report came later.
  if (x.low > 0) x.low = 0;
  Axis y = Range(chart.series, &Point::y, 0.05);
  if (Range(chart.series, &Point::y, 0).high <= chart.y_most) y.high = std::min(y.high, chart.y_most);
  std::string svg = Open(chart.title) + YAxis(y, chart.y_text);
  for (double tick : RoundTicks(x.low, x.high, 6)) {
    svg += Text(X(x.Share(tick)), kTop + kPlotHeight + 16, "middle", FormatShort(tick));
  }
  svg += XLabel(chart.x_label);
  for (const Series& series : chart.series) svg += Line(series, x, y, chart);
  return Figure(chart.title, legend, svg + "</svg>\n");
}

std::string RenderHistogram(const std::string& title, const std::string& x_label,
                            const std::vector<std::uint64_t>& counts, bool open_end) {
  double total = 0;
  for (std::uint64_t count : counts) total += static_cast<double>(count);
  if (total == 0) return NoData(title);
  const std::size_t bin = (counts.size() + kMaxBars - 1) / kMaxBars;
  std::vector<double> bars((counts.size() + bin - 1) / bin);
  for (std::size_t i = 0; i < counts.size(); ++i) bars[i / bin] += static_cast<double>(counts[i]) / total;
  const Axis y{0, *std::max_element(bars.begin(), bars.end()) * 1.05};
  std::string svg = Open(title) + YAxis(y, [](double share) { return absl::StrFormat("%.3g %%", share * 100); });
  // Few bars stay slim instead of filling the plot.
  const double pitch = kPlotWidth / static_cast<double>(std::max<std::size_t>(bars.size(), 8));
  const std::size_t label_every = (bars.size() + 7) / 8;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const std::size_t first = i * bin, last = std::min(counts.size(), first + bin) - 1;
    const bool open = open_end && i + 1 == bars.size();
    std::string range = first == last ? absl::StrCat(first) : absl::StrCat(first, " to ", last);
    if (open) absl::StrAppend(&range, " or more");
    const double x = kLeft + static_cast<double>(i) * pitch, top = Y(y.Share(bars[i]));
    absl::StrAppendFormat(
        &svg,
        "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%s: %.3g %%</title></rect>\n",
        x + pitch * 0.08, top, pitch * 0.84, Y(0) - top, range, bars[i] * 100);
    if (i % label_every == 0 || open) {
      svg += Text(x + pitch / 2, kTop + kPlotHeight + 16, "middle", absl::StrCat(first, open ? "+" : ""));
    }
  }
  svg += XLabel(x_label);
  return Figure(title, "", svg + "</svg>\n");
}

std::string RenderStackedBar(const std::vector<BarPart>& parts, double whole) {
  std::string svg = "<svg class=\"stack\" viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\" role=\"img\">\n";
  double x = 0;
  for (const BarPart& part : parts) {
    const double width = whole > 0 ? std::min(1.0, part.value / whole) * 1000 : 0;
    if (width > 0) {
      absl::StrAppendFormat(
          &svg, "<rect class=\"%s\" x=\"%.2f\" y=\"0\" width=\"%.2f\" height=\"20\"><title>%s</title></rect>\n",
          part.css_class, x, width, EscapeHtml(part.tip));
    }
    x += width;
  }
  return svg + "</svg>";
}

}  // namespace leeway
