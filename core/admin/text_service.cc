#include "core/admin/text_service.h"

#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace core {

namespace {

constexpr absl::string_view kError = "ERROR\r\n";
constexpr absl::string_view kEnd = "END\r\n";
constexpr double kExactMax = 9007199254740992;  // 2^53: integers beyond are no longer exact.

// Counts in full, other values with fifteen digits: a time since 1970 to the microsecond.
std::string Number(double value) {
  if (std::trunc(value) == value && std::fabs(value) < kExactMax) {
    return absl::StrCat(static_cast<int64_t>(value));
  }
  return absl::StrFormat("%.15g", value);
}

void AppendStat(absl::string_view name, absl::string_view suffix, absl::string_view labels,
                absl::string_view value, std::string* text) {
  absl::StrAppend(text, "STAT ", name, suffix, labels, " ", value, "\r\n");
}

std::string FoldLabels(const Labels& labels) {
  std::string folded;
  for (const auto& [label, value] : labels) {
    absl::StrAppend(&folded, folded.empty() ? ":" : ",", label, "=");
    for (const char c : value) {
      const bool breaks = !absl::ascii_isgraph(c) || c == ',' || c == '=';
      folded.push_back(breaks ? '_' : c);
    }
  }
  return folded;
}

// The upper bound of the bucket that holds the value at `fraction`; 0 when nothing was counted.
double QuantileSeconds(const Registry::Sample& sample, double fraction) {
  if (sample.count == 0) return 0;
  const auto rank = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(sample.count)));
  uint64_t seen = 0;
  for (size_t i = 0; i < kLatencyBoundsNs.size(); ++i) {
    seen += sample.bucket_counts[i];
    if (seen >= rank) return static_cast<double>(kLatencyBoundsNs[i]) / 1e9;
  }
  return std::numeric_limits<double>::infinity();
}

void AppendSample(const Registry::Sample& sample, std::string* text) {
  const std::string labels = FoldLabels(*sample.labels);
  if (sample.kind != MetricKind::kHistogram) {
    return AppendStat(sample.name, "", labels, Number(sample.value), text);
  }
  AppendStat(sample.name, "_count", labels, absl::StrCat(sample.count), text);
  AppendStat(sample.name, "_sum", labels, Number(sample.sum), text);
  AppendStat(sample.name, "_p50", labels, Number(QuantileSeconds(sample, 0.5)), text);
  AppendStat(sample.name, "_p99", labels, Number(QuantileSeconds(sample, 0.99)), text);
}

// What a product's command returned, as lines of this port.
std::string WithLineEnds(absl::string_view reply) {
  std::string text;
  for (absl::string_view line : absl::StrSplit(absl::StripSuffix(reply, "\n"), '\n')) {
    absl::StrAppend(&text, absl::StripSuffix(line, "\r"), "\r\n");
  }
  return text;
}

}  // namespace

std::string StatsText(const Registry& registry, absl::string_view prefix) {
  std::string text;
  registry.Visit([&](const Registry::Sample& sample) {
    if (absl::StartsWith(sample.name, prefix)) AppendSample(sample, &text);
  });
  text.append(kEnd.data(), kEnd.size());
  return text;
}

std::string AdminTextService::Answer(absl::string_view line) const {
  const std::pair<absl::string_view, absl::string_view> words =
      absl::StrSplit(absl::StripAsciiWhitespace(line), absl::MaxSplits(' ', 1));
  const absl::string_view args = absl::StripAsciiWhitespace(words.second);
  if (words.first == "stats") return StatsText(*hooks_.metrics, args);
  if (words.first == "version" && args.empty()) {
    return absl::StrCat("VERSION ", hooks_.version, "\r\n");
  }
  if (words.first == "help" && args.empty()) return Help();
  const auto command = hooks_.commands.find(std::string(words.first));
  if (command == hooks_.commands.end()) return std::string(kError);
  return WithLineEnds(command->second.run(args));
}

std::string AdminTextService::Help() const {
  std::string text =
      "stats [prefix]: every metric, or those whose name begins with prefix\r\n"
      "version: of this program\r\n"
      "help: this list\r\n"
      "quit: close the connection\r\n";
  for (const auto& [name, command] : hooks_.commands) {
    absl::StrAppend(&text, name, ": ", command.help, "\r\n");
  }
  absl::StrAppend(&text, kEnd);
  return text;
}

}  // namespace core
