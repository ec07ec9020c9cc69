// Charts as inline SVG. Colours come from classes (report_style.h), so that they follow light and dark.
//
// Every chart scales with the width it is given and carries its numbers as <title> tool tips. Values that are
// not finite, or beyond 1e150, are left out: a line breaks there.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace leeway {

struct Point {
  double x = 0;
  double y = 0;
};

struct Series {
  std::string name;
  std::string css_class;  // colours of `stroke`
  std::vector<Point> points;
  bool dots = false;  // mark each point
};

struct LineChart {
  std::string title;  // plain text, as everything here: it is escaped
  std::string x_label;
  std::function<std::string(double)> y_text;  // of axis labels and tool tips
  double y_most = 0;                          // the y axis ends there if no value is greater
  std::vector<Series> series;
};

// A title, a legend when there are several series, axes with round numbers, the lines. With nothing to draw:
// "no data yet" in its place.
std::string RenderLineChart(const LineChart& chart);

// Bars of counts[i] over i, as shares of all; wide ranges are drawn in bins of equal width. open_end: the last
// bar holds everything above, too.
std::string RenderHistogram(const std::string& title, const std::string& x_label,
                            const std::vector<std::uint64_t>& counts, bool open_end);

struct BarPart {
  double value = 0;  // finite, not negative
  std::string css_class;
  std::string tip;
};

// One horizontal bar of parts side by side, as long as sum / whole.
std::string RenderStackedBar(const std::vector<BarPart>& parts, double whole);

// About `count` round numbers (1, 2 or 5 times a power of ten apart) within [low, high]. Requires low < high,
// within 1e150 of 0.
std::vector<double> RoundTicks(double low, double high, int count);

}  // namespace leeway
