// The lines of the command log: their shape, their codes, and which commands get one.
#include "proto/memcache/klog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "proto/memcache/text_codec.h"

namespace proto::memcache {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Lines final : core::CommandSink {
  void Write(absl::string_view line) override { text.emplace_back(line); }
  std::vector<std::string> text;
};

struct Session final : core::ReplySink<Response> {
  void Deliver(core::SessionRef, uint64_t, Response&&) override { ++delivered; }
  void Abandon(core::SessionRef, uint64_t) override { ++abandoned; }
  int delivered = 0;
  int abandoned = 0;
};

struct Answering {
  struct Connection {};
  explicit Answering(Response (*make)()) : make_(make) {}
  Connection Connect() { return {}; }
  void Execute(Connection&, const Request&, core::Reply<Response> reply) {
    if (make_ != nullptr) std::move(reply).Send(make_());
  }
  void EndTurn() {}
  Response (*make_)();
};

class KlogTest : public testing::Test {
 protected:
  // What is logged of `text`, answered with what `make` makes.
  std::vector<std::string> Log(std::string text, Response (*make)()) {
    TextCodec codec({.item_bytes_max = 100});
    Request req;
    while (!text.empty()) {
      const auto result = codec.Parse(text, &req);
      EXPECT_GT(result.consumed, 0u) << text;
      if (result.consumed == 0) break;
      WithKlog<Answering> service(&lines_, 1, make);
      auto connection = service.Connect();
      if (result.status == core::ParseStatus::kComplete) {
        service.Execute(connection, req, core::Reply<Response>(&session_, {}, 0));
      }
      text.erase(0, result.consumed);
    }
    return std::move(lines_.text);
  }
  Lines lines_;
  Session session_;
};

template <Status kStatus>
Response With() { return Response(kStatus); }

TEST_F(KlogTest, SpellsEveryVerb) {
  EXPECT_THAT(Log("set k 7 60 3\r\nabc\r\n", With<Status::kStored>), ElementsAre("\"set k 7 60 3\" 5 8"));
  EXPECT_THAT(Log("set k 7 -1 3 noreply\r\nabc\r\n", With<Status::kStored>),
              ElementsAre("\"set k 7 -1 3\" 5 0"));
  EXPECT_THAT(Log("cas k 0 0 1 99\r\nx\r\n", With<Status::kExists>),
              ElementsAre("\"cas k 0 0 1 99\" 6 8"));
  EXPECT_THAT(Log("delete k\r\n", With<Status::kDeleted>), ElementsAre("\"delete k\" 7 9"));
  EXPECT_THAT(Log("touch k 5\r\n", With<Status::kTouched>), ElementsAre("\"touch k 5\" 4 9"));
  EXPECT_THAT(Log("incr k 5\r\n", [] { return Response::Number(100); }),
              ElementsAre("\"incr k 5\" 5 5"));
  EXPECT_THAT(Log("decr k 5\r\n", With<Status::kNonNumeric>), ElementsAre("\"decr k 5\" 10 62"));
}

TEST_F(KlogTest, AGetHasALineAKey) {
  const auto found_b = [] {
    Response rsp(Status::kValues);
    Item item;
    item.key = "b";
    item.value = core::Bytes(std::string("12345"));
    rsp.items.push_back(std::move(item));
    return rsp;
  };
  EXPECT_THAT(Log("get a b c\r\n", found_b),
              ElementsAre("\"get a\" 0 0", "\"get b\" 4 5", "\"get c\" 0 0"));
  EXPECT_THAT(Log("get a b\r\n",
                  [] { return Response::Text(Status::kServerError, "backend timeout"); }),
              ElementsAre("\"get a\" 12 30", "\"get b\" 12 30"));
}

TEST_F(KlogTest, SpellsMetaCommands) {
  const auto found = [] {
    Response rsp(Status::kValues);
    Item& item = rsp.items.emplace_back();
    item.key = "k";
    item.value = core::Bytes(std::string("12345"));
    return rsp;
  };
  EXPECT_THAT(Log("mg k v\r\n", found), ElementsAre("\"mg k\" 4 5"));
  EXPECT_THAT(Log("mg aw== b T30\r\n", found), ElementsAre("\"mg k 30\" 4 5"));
  EXPECT_THAT(Log("mg k q\r\n", With<Status::kValues>), ElementsAre("\"mg k\" 0 0"));
  EXPECT_THAT(Log("mg k k\r\n", [] { return Response::Text(Status::kServerError, "no"); }),
              ElementsAre("\"mg k\" 11 17"));
  EXPECT_THAT(Log("ms k 3 T60 F7 c Oa\r\nabc\r\n", With<Status::kStored>),
              ElementsAre("\"ms k 7 60 3\" 5 10"));
  EXPECT_THAT(Log("ms k 3 q\r\nabc\r\n", With<Status::kStored>), ElementsAre("\"ms k 0 0 3\" 5 0"));
  EXPECT_THAT(Log("ms k 3 C9 q\r\nabc\r\n", With<Status::kExists>),
              ElementsAre("\"ms k 0 0 3 9\" 6 4"));
  EXPECT_THAT(Log("md k\r\n", With<Status::kDeleted>), ElementsAre("\"md k\" 7 4"));
  EXPECT_THAT(Log("md k I T30\r\n", With<Status::kDeleted>), ElementsAre("\"md k 30\" 7 4"));
  EXPECT_THAT(Log("ma k D5 v\r\n", [] { return Response::Number(100); }),
              ElementsAre("\"ma k 5\" 5 11"));
  EXPECT_THAT(Log("mn\r\nme k\r\n", With<Status::kOk>), IsEmpty());
}

TEST_F(KlogTest, LogsWhatIsKnownOfAValueTooLarge) {
  EXPECT_THAT(Log("set k 0 0 200\r\n" + std::string(200, 'x') + "\r\n", With<Status::kTooLarge>),
              ElementsAre("\"set k - - -\" 11 41"));
}

TEST_F(KlogTest, EscapesKeys) {
  EXPECT_THAT(Log("delete a\"\\\x01\xff\r\n", With<Status::kNotFound>),
              ElementsAre("\"delete a\\\"\\\\\\x01\\xff\" 8 11"));
}

TEST_F(KlogTest, LeavesOutWhatIsNoCommandOnAKey) {
  EXPECT_THAT(Log("version\r\nflush_all\r\nnonsense\r\n", With<Status::kOk>), IsEmpty());
}

TEST_F(KlogTest, ADroppedReplyIsPassedOnWithoutALine) {
  EXPECT_THAT(Log("delete k\r\n", nullptr), IsEmpty());
  EXPECT_EQ(session_.abandoned, 1);
}

TEST_F(KlogTest, SamplesExactlyEveryNth) {
  WithKlog<Answering> service(&lines_, 3, With<Status::kDeleted>);
  auto connection = service.Connect();
  Request req;
  for (int i = 0; i < 10; ++i) {
    req.Clear();
    req.op = Op::kDelete;
    req.verb = Verb::kDelete;
    const std::string key(1, static_cast<char>('0' + i));
    req.keys.push_back(key);
    service.Execute(connection, req, core::Reply<Response>(&session_, {}, 0));
  }
  EXPECT_EQ(session_.delivered, 10);
  EXPECT_THAT(lines_.text,
              ElementsAre("\"delete 2\" 7 9", "\"delete 5\" 7 9", "\"delete 8\" 7 9"));
}

}  // namespace
}  // namespace proto::memcache
