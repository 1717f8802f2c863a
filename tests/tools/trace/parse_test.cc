// Lines of traces, whole and odd, and the keys made of their identifiers.
#include "tools/trace/parse.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace trace {
namespace {

TEST(ParseTest, ReadsTheFieldsOfALine) {
  Parser parser;
  Request request;
  ASSERT_TRUE(parser.Parse("17,m1ca,30,214,3,set,86400", &request));
  EXPECT_EQ(request.second, 17);
  EXPECT_EQ(request.key, "m1ca");
  EXPECT_EQ(request.key_bytes, 30u);
  EXPECT_EQ(request.value_bytes, 214);
  EXPECT_EQ(request.op, Op::kSet);
  EXPECT_EQ(request.ttl_sec, 86400);
}

TEST(ParseTest, TakesLineEndsFractionsAndKeysWithCommas) {
  Parser parser;
  Request request;
  ASSERT_TRUE(parser.Parse("12.9,a,b,,9,5,1,get,0\r", &request));
  EXPECT_EQ(request.second, 12);
  EXPECT_EQ(request.key, "a,b,");
  EXPECT_EQ(request.key_bytes, 9u);
  EXPECT_EQ(request.ttl_sec, 0);
}

TEST(ParseTest, KnowsTheOperations) {
  Parser parser;
  Request request;
  const std::pair<const char*, Op> kOps[] = {
      {"get", Op::kGet},     {"gets", Op::kGet},    {"set", Op::kSet},     {"cas", Op::kSet},
      {"replace", Op::kSet}, {"append", Op::kSet},  {"prepend", Op::kSet}, {"add", Op::kAdd},
      {"delete", Op::kDelete}, {"incr", Op::kOther}, {"whatever", Op::kOther}};
  for (const auto& [name, op] : kOps) {
    ASSERT_TRUE(parser.Parse(std::string("0,k,1,1,0,") + name + ",0", &request)) << name;
    EXPECT_EQ(request.op, op) << name;
  }
}

TEST(ParseTest, RefusesWhatIsNoRequestAndLeavesTheRequestAlone) {
  Parser parser;
  Request request;
  request.key = "untouched";
  for (const char* line :
       {"", ",", "timestamp,key,key size,value size,client,operation,ttl", "0,k,1,1,0,get",
        "0,,1,1,0,get,0", "x,k,1,1,0,get,0", "-1,k,1,1,0,get,0", "0,k,-1,1,0,get,0",
        "0,k,1,-1,0,get,0", "0,k,1,1,0,get,-5", "0,k,1,1,0,,0", "0,k,1,99999999999,0,get,0",
        "nan,k,1,1,0,get,0", "0,k,1,1,0,get,0x1", "\"", "\"get k\"", "now \"get k\" 4 5",
        "2026-11-25T08:51:26.037Z \"get\" 4 5", "2026-11-25T08:51:26.037Z \"get k 4 5",
        "2026-11-25T08:51:26.037Z \"set k 0 60\" 5 8",
        "2026-11-25T08:51:26.037Z \"set k 0 x 5\" 5 8"}) {
    EXPECT_FALSE(parser.Parse(line, &request)) << line;
    EXPECT_EQ(request.key, "untouched") << line;
  }
}

TEST(ParseTest, ReadsTheCommandLog) {
  Parser parser;
  Request request;
  ASSERT_TRUE(parser.Parse("1970-01-01T00:01:40.037Z \"set a\\x20b 7 60 512\" 5 8", &request));
  EXPECT_EQ(request.second, 100);
  EXPECT_EQ(request.key, "a b");
  EXPECT_EQ(request.key_bytes, 3u);
  EXPECT_EQ(request.op, Op::kSet);
  EXPECT_EQ(request.value_bytes, 512);
  EXPECT_EQ(request.ttl_sec, 60);
  // A hit has the size; the TTL is the one last set. A miss is followed by the client's own set.
  ASSERT_TRUE(parser.Parse("1970-01-01T00:01:41.000Z \"get a\\x20b\" 4 512", &request));
  EXPECT_EQ(request.op, Op::kGet);
  EXPECT_EQ(request.value_bytes, 512);
  EXPECT_EQ(request.ttl_sec, 60);
  ASSERT_TRUE(parser.Parse("1970-01-01T00:01:42.000Z \"get other\" 0 0", &request));
  EXPECT_EQ(request.value_bytes, kUnknownBytes);
}

TEST(ParseTest, ReadsDatesAndRefusalsOfTheCommandLog) {
  Parser parser;
  Request request;
  ASSERT_TRUE(parser.Parse("2000-01-01T00:00:00.000Z \"set k 0 946684860 1\" 5 8", &request));
  EXPECT_EQ(request.ttl_sec, 60);
  ASSERT_TRUE(parser.Parse("2000-01-01T00:00:00.000Z \"set k - - -\" 11 41", &request));
  EXPECT_EQ(request.op, Op::kOther);
  ASSERT_TRUE(parser.Parse("2000-01-01T00:00:00.000Z \"incr k 1\" 5 4", &request));
  EXPECT_EQ(request.op, Op::kOther);
}

TEST(KeyTest, HasTheLengthAskedFor) {
  std::string key;
  MakeKey("abc", 8, &key);
  EXPECT_EQ(key, "abc.....");
  MakeKey("abc", 3, &key);
  EXPECT_EQ(key, "abc");
  MakeKey("abc", 0, &key);
  EXPECT_EQ(key.size(), 1u);
  MakeKey("abc", 1000, &key);
  EXPECT_EQ(key.size(), kKeyBytesMax);
}

TEST(KeyTest, ShortKeysOfLongIdentifiersStayApart) {
  std::set<std::string> keys;
  std::string key;
  for (int i = 0; i < 1000; ++i) {
    MakeKey("the-same-beginning-" + std::to_string(i), 12, &key);
    EXPECT_EQ(key.size(), 12u);
    EXPECT_EQ(key.find_first_of(" \r\n"), std::string::npos);
    keys.insert(key);
  }
  EXPECT_EQ(keys.size(), 1000u);
}

}  // namespace
}  // namespace trace
