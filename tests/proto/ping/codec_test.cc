#include "proto/ping/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace proto::ping {
namespace {

using ::testing::ElementsAre;

// What a session makes of `wire` arriving in pieces of `step` bytes: replies, and how it ended.
std::vector<std::string> Talk(absl::string_view wire, size_t step) {
  Codec codec;
  std::vector<std::string> said;
  std::string unread;
  for (size_t at = 0; at < wire.size(); at += step) {
    unread.append(wire.data() + at, std::min(step, wire.size() - at));
    while (!unread.empty()) {
      Request req;
      const core::ParseResult result = codec.Parse(unread, &req);
      if (result.status == core::ParseStatus::kNeedMore) break;
      unread.erase(0, result.consumed);
      if (result.status == core::ParseStatus::kQuit || result.close) {
        said.push_back(result.close ? "hang up" : "quit");
        return said;
      }
      core::OutBuffer out;
      Codec::Compose(
          Codec::ContextOf(req),
          result.status == core::ParseStatus::kComplete ? Response() : Codec::Rejection(req), &out);
      said.push_back(out.ToString());
    }
  }
  return said;
}

TEST(PingCodec, AnswersAtEveryFragmentation) {
  const std::string wire =
      "PING\r\nPING\n\r\nping\r\nPING \r\nPINGPING\r\nPING\r\nquit\r\nPING\r\n";
  for (size_t step = 1; step <= wire.size(); ++step) {
    EXPECT_THAT(Talk(wire, step), ElementsAre("PONG\r\n", "PONG\r\n", "ERROR\r\n", "ERROR\r\n",
                                              "ERROR\r\n", "ERROR\r\n", "PONG\r\n", "quit"))
        << "in steps of " << step;
  }
}

TEST(PingCodec, WaitsForTheEndOfTheLine) { EXPECT_THAT(Talk("PING\r", 1), ElementsAre()); }

TEST(PingCodec, HangsUpOnALineTooLong) {
  const std::string word(Codec::kLineBytesMax - 1, 'x');
  for (const size_t step : {size_t{1}, size_t{1000}}) {
    EXPECT_THAT(Talk(word + "\nPING\r\n", step), ElementsAre("ERROR\r\n", "PONG\r\n"));
    EXPECT_THAT(Talk(word + "x\nPING\r\n", step), ElementsAre("hang up"));
  }
}

}  // namespace
}  // namespace proto::ping
