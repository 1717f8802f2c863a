// The admin port's lines at every split, and metrics as "STAT" lines.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/admin/text_codec.h"
#include "core/admin/text_service.h"

namespace core {
namespace {

TEST(AdminTextCodec, TakesLfAndCrlfAtEveryCut) {
  for (const std::string line : {"stats proxy\r\n", "stats proxy\n"}) {
    AdminTextCodec codec;
    AdminTextCodec::Request req;
    for (size_t cut = 0; cut < line.size(); ++cut) {
      const ParseResult part = codec.Parse(absl::string_view(line).substr(0, cut), &req);
      EXPECT_EQ(part.status, ParseStatus::kNeedMore) << cut;
      EXPECT_EQ(part.consumed, 0u) << cut;
    }
    const std::string more = line + "version\n";
    const ParseResult whole = codec.Parse(more, &req);
    EXPECT_EQ(whole.status, ParseStatus::kComplete);
    EXPECT_EQ(whole.consumed, line.size());
    EXPECT_EQ(req.line, "stats proxy");
  }
}

TEST(AdminTextCodec, QuitIsAGoodbye) {
  AdminTextCodec codec;
  AdminTextCodec::Request req;
  EXPECT_EQ(codec.Parse("quit\r\n", &req).status, ParseStatus::kQuit);
  EXPECT_EQ(codec.Parse("quit now\r\n", &req).status, ParseStatus::kComplete);
}

TEST(AdminTextCodec, RefusesALineWithoutAnEnd) {
  AdminTextCodec codec;
  AdminTextCodec::Request req;
  const size_t max = AdminTextCodec::kLineBytesMax;
  EXPECT_EQ(codec.Parse(std::string(max - 1, 'x'), &req).status, ParseStatus::kNeedMore);
  EXPECT_EQ(codec.Parse(std::string(max - 1, 'x') + "\n", &req).status, ParseStatus::kComplete);
  const ParseResult endless = codec.Parse(std::string(max, 'x') + "\n", &req);
  EXPECT_EQ(endless.status, ParseStatus::kInvalid);
  EXPECT_TRUE(endless.close);
}

struct Sample : MetricGroup {
  using MetricGroup::MetricGroup;
  Counter a{this, "get_total", "Gets."};
  Gauge b{this, "open", "Open.", {{"state", "half open,x=1\n"}}};
};

TEST(StatsText, FoldsLabelsIntoOneWord) {
  Registry registry;
  Sample sample(&registry, "proxy", {{"cache", "near"}});
  sample.a.Add(12345678901);
  sample.b.Add(-3);
  EXPECT_EQ(StatsText(registry, ""),
            "STAT proxy_get_total:cache=near 12345678901\r\n"
            "STAT proxy_open:cache=near,state=half_open_x_1_ -3\r\n"
            "END\r\n");
}

TEST(StatsText, KeepsToThePrefix) {
  Registry registry;
  Sample proxy(&registry, "proxy");
  Sample cache(&registry, "cache");
  EXPECT_EQ(StatsText(registry, "cache_get"), "STAT cache_get_total 0\r\nEND\r\n");
  EXPECT_EQ(StatsText(registry, "nothing"), "END\r\n");
}

TEST(StatsText, SumsUpHistograms) {
  Registry registry;
  MetricGroup group(&registry, "t");
  Histogram histogram(&group, "seconds", "Time.");
  EXPECT_THAT(StatsText(registry, ""), testing::HasSubstr("STAT t_seconds_p99 0\r\n"));
  for (int i = 0; i < 99; ++i) histogram.RecordNs(15'000);
  histogram.RecordNs(60'000'000'000);
  EXPECT_EQ(StatsText(registry, ""),
            "STAT t_seconds_count 100\r\n"
            "STAT t_seconds_sum 60.001485\r\n"
            "STAT t_seconds_p50 2e-05\r\n"
            "STAT t_seconds_p99 2e-05\r\n"
            "END\r\n");
  for (int i = 0; i < 5; ++i) histogram.RecordNs(60'000'000'000);
  EXPECT_THAT(StatsText(registry, ""), testing::HasSubstr("STAT t_seconds_p99 inf\r\n"));
}

TEST(StatsText, PrintsFractions) {
  Registry registry;
  MetricGroup group(&registry, "t");
  Gauge gauge(&group, "ratio", "A ratio.", [] { return 0.25; });
  EXPECT_EQ(StatsText(registry, ""), "STAT t_ratio 0.25\r\nEND\r\n");
}

TEST(StatsText, TimesSince1970AreExact) {
  Registry registry;
  MetricGroup group(&registry, "t");
  Gauge gauge(&group, "start_time_seconds", "A time.", [] { return 1796060039.57; });
  EXPECT_EQ(StatsText(registry, ""), "STAT t_start_time_seconds 1796060039.57\r\nEND\r\n");
}

}  // namespace
}  // namespace core
