#include "proto/admin/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace proto::admin {
namespace {

using ::testing::ElementsAre;

// What Parse makes of `wire` arriving in pieces of `step` bytes, one word or phrase an outcome.
std::vector<std::string> Outcomes(absl::string_view wire, size_t step) {
  Codec codec;
  std::vector<std::string> outcomes;
  std::string unread;
  for (size_t at = 0; at < wire.size(); at += step) {
    unread.append(wire.data() + at, std::min(step, wire.size() - at));
    while (!unread.empty()) {
      Request req;
      const core::ParseResult result = codec.Parse(unread, &req);
      if (result.status == core::ParseStatus::kNeedMore) break;
      if (result.status == core::ParseStatus::kInvalid) {
        outcomes.push_back(result.close ? "hang up" : "error");
      } else if (result.status == core::ParseStatus::kQuit) {
        outcomes.push_back("quit");
      } else if (req.command == Command::kVersion) {
        outcomes.push_back("version");
      } else {
        outcomes.push_back("stats<" + std::string(req.argument) + ">");
      }
      if (result.status == core::ParseStatus::kQuit || result.close) return outcomes;
      unread.erase(0, result.consumed);
    }
  }
  return outcomes;
}

std::string Spell(Response rsp) {
  core::OutBuffer out;
  Codec::Compose({}, std::move(rsp), &out);
  return out.ToString();
}

TEST(AdminCodec, ReadsCommandsAtEveryFragmentation) {
  const std::string wire =
      "stats\r\nstats\n  stats   settings x  \r\nversion\r\nversion 2\r\n\r\nflush_all\r\nSTATS\r\n"
      "statsx\r\nquit\r\nstats\r\n";
  for (size_t step = 1; step <= wire.size(); ++step) {
    EXPECT_THAT(Outcomes(wire, step),
                ElementsAre("stats<>", "stats<>", "stats<settings x>", "version", "version",
                            "error", "error", "error", "error", "quit"))
        << "in steps of " << step;
  }
}

TEST(AdminCodec, HangsUpOnALineTooLong) {
  const std::string word(Codec::kLineBytesMax - 1, 'x');
  for (const size_t step : {size_t{1}, size_t{5000}}) {
    EXPECT_THAT(Outcomes(word + "\nstats\n", step), ElementsAre("error", "stats<>"));
    EXPECT_THAT(Outcomes(word + "x\nstats\n", step), ElementsAre("hang up"));
  }
}

TEST(AdminCodec, SpellsAnswers) {
  Response stats{Response::Status::kStats, {{"a", "1"}, {"b", "two words"}}, ""};
  EXPECT_EQ(Spell(std::move(stats)), "STAT a 1\r\nSTAT b two words\r\nEND\r\n");
  EXPECT_EQ(Spell({Response::Status::kStats, {}, ""}), "END\r\n");
  EXPECT_EQ(Spell({Response::Status::kVersion, {}, "1.2"}), "VERSION 1.2\r\n");
  EXPECT_EQ(Spell({Response::Status::kText, {}, "as\nis"}), "as\nis");
  EXPECT_EQ(Spell(Codec::Rejection({})), "ERROR\r\n");
}

}  // namespace
}  // namespace proto::admin
