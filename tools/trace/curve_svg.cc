// The picture. See curve.h.
//
// Memory runs along a logarithmic axis, for sizes are usually doubled; a label stands at every size
// that was measured. Labels of lines are in a legend at the right, in the order in which the lines
// end, so that a colour is found by height.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "config/units.h"
#include "tools/trace/curve.h"

namespace trace {
namespace {

constexpr double kWidth = 760, kHeight = 420;
constexpr double kLeft = 64, kRight = 570, kTop = 44, kBottom = 364;

// Told apart by colour-blind eyes too (Okabe and Ito, 2008), and once more by dashes.
constexpr std::array<absl::string_view, 7> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                       "#e69f00", "#56b4e9", "#000000"};
constexpr std::array<absl::string_view, 3> kDashes = {"none", "6 3", "2 3"};

std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

// A step of 1, 2 or 5 times a power of ten that cuts `range` into four to ten.
double NiceStep(double range) {
  const double power = std::pow(10, std::floor(std::log10(range / 4)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (range / (power * factor) <= 8) return power * factor;
  }
  return power * 10;
}

class Picture {
 public:
  Picture(absl::string_view title, const std::vector<Point>& points, const Point& floor)
      : title_(title), floor_(floor.miss_ratio()) {
    low_ = high_ = floor_;
    for (const Point& point : points) {
      lines_[point.cache][point.memory_bytes] = point.miss_ratio();
      sizes_[point.memory_bytes] = true;
      high_ = std::max(high_, point.miss_ratio());
      low_ = std::min(low_, point.miss_ratio());
    }
    step_ = NiceStep(std::max(high_ - low_, 1e-4));
    low_ = std::floor(low_ / step_) * step_;
    high_ = std::max(std::ceil(high_ / step_), std::floor(low_ / step_) + 1) * step_;
  }

  std::string Draw() {
    absl::StrAppendFormat(
        &svg_,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
        kWidth, kHeight);
    Text(kLeft, 24, "start", Escaped(title_), "font-size=\"15\" font-weight=\"bold\"");
    DrawAxes();
    DrawLines();
    absl::StrAppend(&svg_, "</svg>\n");
    return std::move(svg_);
  }

 private:
  double X(uint64_t bytes) const {
    const double first = std::log2(static_cast<double>(std::max<uint64_t>(sizes_.begin()->first, 1)));
    const double last = std::log2(static_cast<double>(std::max<uint64_t>(sizes_.rbegin()->first, 1)));
    if (last <= first) return (kLeft + kRight) / 2;
    const double at = std::log2(static_cast<double>(std::max<uint64_t>(bytes, 1)));
    return kLeft + 16 + (kRight - kLeft - 32) * (at - first) / (last - first);
  }
  double Y(double ratio) const {
    return kBottom - (kBottom - kTop) * (ratio - low_) / (high_ - low_);
  }
  void Text(double x, double y, absl::string_view anchor, absl::string_view text,
            absl::string_view more = "") {
    absl::StrAppendFormat(&svg_, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>%s</text>\n", x,
                          y, anchor, more, text);
  }
  void Stroke(double x1, double y1, double x2, double y2, absl::string_view style) {
    absl::StrAppendFormat(&svg_, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1,
                          y1, x2, y2, style);
  }

  void DrawAxes() {
    for (double ratio = low_; ratio < high_ + step_ / 2; ratio += step_) {
      Stroke(kLeft, Y(ratio), kRight, Y(ratio), "stroke=\"#ddd\"");
      Text(kLeft - 8, Y(ratio) + 4, "end", absl::StrFormat("%.*f", step_ < 0.01 ? 3 : 2, ratio));
    }
    for (const auto& [bytes, unused] : sizes_) {
      Stroke(X(bytes), kBottom, X(bytes), kBottom + 5, "stroke=\"#333\"");
      Text(X(bytes), kBottom + 20, "middle", config::SpellSize(bytes));
    }
    Stroke(kLeft, kBottom, kRight, kBottom, "stroke=\"#333\"");
    Stroke(kLeft, kTop, kLeft, kBottom, "stroke=\"#333\"");
    Text((kLeft + kRight) / 2, kBottom + 42, "middle", "memory, all of it (bytes, logarithmic)");
    Text(0, 0, "middle", "misses per get",
         absl::StrFormat("transform=\"translate(18 %.0f) rotate(-90)\"", (kTop + kBottom) / 2));
    Stroke(kLeft, Y(floor_), kRight, Y(floor_), "stroke=\"#999\" stroke-width=\"1.5\"");
  }

  void DrawLines() {
    struct Label {
      double y;
      std::string text;
      std::string style;
    };
    std::vector<Label> labels = {{Y(floor_), "infinite (floor)", "stroke=\"#999\""}};
    size_t number = 0;
    for (const auto& [cache, ratios] : lines_) {
      const std::string style =
          absl::StrFormat("fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-dasharray=\"%s\"",
                          kColours[number % kColours.size()],
                          kDashes[number / kColours.size() % kDashes.size()]);
      ++number;
      absl::StrAppend(&svg_, "<polyline ", style, " points=\"");
      for (const auto& [bytes, ratio] : ratios) {
        absl::StrAppendFormat(&svg_, "%.1f,%.1f ", X(bytes), Y(ratio));
      }
      absl::StrAppend(&svg_, "\"/>\n");
      labels.push_back({Y(ratios.rbegin()->second), cache, style});
    }
    std::stable_sort(labels.begin(), labels.end(),
                     [](const Label& a, const Label& b) { return a.y < b.y; });
    double y = kTop + 4;
    for (const Label& label : labels) {
      Stroke(kRight + 16, y, kRight + 44, y, label.style);
      Text(kRight + 50, y + 4, "start", Escaped(label.text));
      y += 19;
    }
  }

  const std::string title_;
  const double floor_;
  std::map<std::string, std::map<uint64_t, double>> lines_;
  std::map<uint64_t, bool> sizes_;
  double low_, high_, step_;
  std::string svg_;
};

}  // namespace

std::string SvgOf(absl::string_view title, const std::vector<Point>& points, const Point& floor) {
  if (points.empty()) return "";
  return Picture(title, points, floor).Draw();
}

}  // namespace trace
