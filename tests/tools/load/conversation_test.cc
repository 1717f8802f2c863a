// Replies of every kind, cut at every byte; what does not belong; noreply and cas.
#include "tools/load/conversation.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace tools::load {
namespace {

// A conversation over keys k0 and k1 that takes turns.
struct Talk {
  explicit Talk(const char* mix_text, bool verify = true) : mix(*Mix::Parse(mix_text)) {
    options.verify = verify;
    options.flags = 7;
    options.keys = *KeySpace::Create("k", 2, Numbers::Always(2));
    options.counters = *KeySpace::Create("#", 2, Numbers::Always(2));
    options.value_bytes = Numbers::Always(20);
    traffic.reset(new Traffic{.options = &options,
                              .mix = &mix,
                              .values = &values,
                              .fill_counters = false,
                              .order = KeyOrder::Sequential(2),
                              .random = Random(1),
                              .tally = Tally(mix.commands().size())});
  }
  std::string Asked(int n = 1) {
    for (int i = 0; i < n; ++i) conversation.Ask(traffic.get(), 100);
    conversation.EndBurst();
    return Said();
  }
  std::string Said() {
    const std::string out(conversation.unsent());
    conversation.Sent(out.size());
    return out;
  }
  bool Hear(absl::string_view bytes) { return conversation.Hear(traffic.get(), bytes, 400); }
  std::string Value(const std::string& key, size_t size = 20) const {
    std::string value(size, '\0');
    values.Write(HashOfKey(key), 5, size, value.data());
    return value;
  }
  // As a server answers a hit.
  std::string Block(const std::string& key, const std::string& cas = "", size_t size = 20) const {
    return absl::StrCat("VALUE ", key, " 7 ", size, cas, "\r\n", Value(key, size), "\r\n");
  }
  uint64_t Faults(Fault fault) const {
    return traffic->tally.faults[static_cast<size_t>(fault)].Value();
  }
  uint64_t AllFaults() const {
    uint64_t sum = 0;
    for (const Count& count : traffic->tally.faults) sum += count.Value();
    return sum;
  }
  Tally& tally() { return traffic->tally; }

  Mix mix;
  Options options;
  Values values;
  std::unique_ptr<Traffic> traffic;
  Conversation conversation;
};

// A binary packet; `code` is the status of a reply.
std::string Packet(uint8_t magic, uint8_t opcode, const std::string& extras, const std::string& key,
                   const std::string& value, uint16_t code = 0) {
  std::string out(24, '\0');
  out[0] = static_cast<char>(magic);
  out[1] = static_cast<char>(opcode);
  out[3] = static_cast<char>(key.size());
  out[4] = static_cast<char>(extras.size());
  out[7] = static_cast<char>(code);
  out[11] = static_cast<char>(extras.size() + key.size() + value.size());
  return out + extras + key + value;
}

TEST(Conversation, SpellsEveryCommand) {
  const auto asked = [](const char* mix) { return Talk(mix).Asked(); };
  EXPECT_EQ(asked("get*3"), "get k0 k1 k0\r\n");
  EXPECT_EQ(asked("gat"), "gat 0 k0\r\n");
  EXPECT_EQ(asked("gats*2"), "gats 0 k0 k1\r\n");
  EXPECT_EQ(asked("delete"), "delete k0\r\n");
  EXPECT_EQ(asked("touch"), "touch k0 0\r\n");
  EXPECT_EQ(asked("incr"), "incr #0 1\r\n");
  EXPECT_EQ(asked("cas"), "gets k0\r\n");
  EXPECT_EQ(asked("ping"), "PING\r\n");
  EXPECT_EQ(asked("touch-noreply"), "touch k0 0 noreply\r\nversion\r\n");
  for (const std::string verb : {"set", "add", "replace", "append", "prepend"}) {
    const std::string said = asked(verb.c_str());
    EXPECT_TRUE(absl::StartsWith(said, verb + " k0 7 0 20\r\n")) << said;
    EXPECT_EQ(said.size(), verb.size() + 12 + 22);
    EXPECT_TRUE(absl::StartsWith(asked((verb + "-noreply").c_str()), verb + " k0 7 0 20 noreply\r\n"));
  }
}

TEST(Conversation, SpellsItsDialect) {
  const auto asked = [](const char* mix, Dialect dialect) {
    Talk talk(mix);
    talk.options.dialect = dialect;
    return talk.Asked();
  };
  EXPECT_EQ(asked("get", Dialect::kMeta), "mg k0 f v\r\n");
  EXPECT_EQ(asked("get*2", Dialect::kMeta), "mg k0 f k v q\r\nmg k1 f k v q\r\nmn\r\n");
  EXPECT_TRUE(absl::StartsWith(asked("set", Dialect::kMeta), "ms k0 20 T0 F7\r\n"));
  EXPECT_EQ(asked("get", Dialect::kBinary), Packet(0x80, 0x00, "", "k0", ""));
  EXPECT_EQ(asked("get*2", Dialect::kBinary),
            Packet(0x80, 0x0d, "", "k0", "") + Packet(0x80, 0x0d, "", "k1", "") +
                Packet(0x80, 0x0a, "", "", ""));
  const std::string set = asked("set", Dialect::kBinary);
  EXPECT_EQ(set, Packet(0x80, 0x01, std::string("\0\0\0\7\0\0\0\0", 8), "k0", set.substr(34)));
}

// Hits, misses and a failure in either other dialect, cut everywhere.
TEST(Conversation, TakesRepliesOfItsDialectCutAnywhere) {
  const std::string flags("\0\0\0\7", 4);
  struct Case {
    Dialect dialect;
    const char* mix;
    std::function<std::string(const Talk&)> replies;
    uint64_t hits, misses, errors;
  };
  const Case cases[] = {
      {Dialect::kMeta, "get",
       [](const Talk& t) {
         return absl::StrCat("VA 20 f7\r\n", t.Value("k0"), "\r\n", "EN\r\n", "SERVER_ERROR busy\r\n");
       },
       1, 1, 1},
      {Dialect::kMeta, "get*2",
       [](const Talk& t) {
         return absl::StrCat("VA 20 f7 kk0\r\n", t.Value("k0"), "\r\n", "VA 20 f7 kk1\r\n",
                             t.Value("k1"), "\r\n", "MN\r\n", "MN\r\n", "SERVER_ERROR busy\r\n",
                             "VA 20 f7 kk1\r\n", t.Value("k1"), "\r\n", "MN\r\n");
       },
       3, 3, 1},
      {Dialect::kMeta, "set",
       [](const Talk&) { return std::string("HD\r\nHD\r\nSERVER_ERROR busy\r\n"); }, 0, 0, 1},
      {Dialect::kBinary, "get",
       [&](const Talk& t) {
         return Packet(0x81, 0, flags, "", t.Value("k0")) + Packet(0x81, 0, "", "", "Not found", 1) +
                Packet(0x81, 0, "", "", "Internal", 0x84);
       },
       1, 1, 1},
      {Dialect::kBinary, "get*2",
       [&](const Talk& t) {
         return Packet(0x81, 0x0d, flags, "k0", t.Value("k0")) +
                Packet(0x81, 0x0d, flags, "k1", t.Value("k1")) + Packet(0x81, 0x0a, "", "", "") +
                Packet(0x81, 0x0a, "", "", "") + Packet(0x81, 0x0d, "", "", "Internal", 0x84) +
                Packet(0x81, 0x0d, flags, "k1", t.Value("k1")) + Packet(0x81, 0x0a, "", "", "");
       },
       3, 3, 1},
      {Dialect::kBinary, "set",
       [&](const Talk&) {
         return Packet(0x81, 1, "", "", "") + Packet(0x81, 1, "", "", "") +
                Packet(0x81, 1, "", "", "Internal", 0x84);
       },
       0, 0, 1},
  };
  for (const Case& c : cases) {
    const size_t size = c.replies(Talk(c.mix)).size();
    for (size_t cut = 0; cut <= size; ++cut) {
      Talk talk(c.mix);
      talk.options.dialect = c.dialect;
      talk.Asked(3);
      const std::string whole = c.replies(talk);
      ASSERT_TRUE(cut == 0 || talk.Hear(whole.substr(0, cut)));
      ASSERT_TRUE(cut == size || talk.Hear(whole.substr(cut)));
      EXPECT_EQ(talk.conversation.pending(), 0u);
      EXPECT_EQ(talk.tally().requests.Value(), 3u);
      EXPECT_EQ(talk.tally().hits.Value(), c.hits);
      EXPECT_EQ(talk.tally().misses.Value(), c.misses);
      EXPECT_EQ(talk.Faults(Fault::kServerError), c.errors);
      EXPECT_EQ(talk.AllFaults(), c.errors) << talk.tally().first_fault;
    }
  }
}

TEST(Conversation, NoticesWhatIsNoReplyOfItsDialect) {
  const std::string flags("\0\0\0\7", 4);
  const auto heard = [](Dialect dialect, const char* mix, const std::string& bytes) {
    Talk talk(mix);
    talk.options.dialect = dialect;
    talk.Asked();
    return talk.Hear(bytes);
  };
  EXPECT_FALSE(heard(Dialect::kMeta, "get", "HD\r\n"));
  EXPECT_FALSE(heard(Dialect::kMeta, "get", "VA 20\r\n"));
  EXPECT_FALSE(heard(Dialect::kMeta, "get*2", "EN\r\n"));
  EXPECT_FALSE(heard(Dialect::kMeta, "set", "STORED\r\n"));
  EXPECT_FALSE(heard(Dialect::kBinary, "get", std::string(24, 'x')));
  EXPECT_FALSE(heard(Dialect::kBinary, "get", Packet(0x81, 0, "", "", "no flags")));
  EXPECT_FALSE(heard(Dialect::kBinary, "get*2", Packet(0x81, 0x0d, flags, "", "no key")));
  Talk talk("get");
  talk.options.dialect = Dialect::kMeta;
  talk.Asked();
  EXPECT_TRUE(talk.Hear("VA 3 f7\r\nbad\r\n"));
  EXPECT_EQ(talk.Faults(Fault::kWrongValue), 1u);
}

// One stream of replies to many requests, whole, in two parts at every place, and byte by byte.
TEST(Conversation, TakesRepliesCutAnywhere) {
  const auto stream = [](const Talk& talk) {
    return absl::StrCat(talk.Block("k0"), talk.Block("k1"), "END\r\n", "END\r\n", talk.Block("k0"),
                        "END\r\n", "SERVER_ERROR busy\r\n");
  };
  const auto check = [](Talk& talk) {
    EXPECT_EQ(talk.conversation.pending(), 0u);
    EXPECT_EQ(talk.tally().requests.Value(), 4u);
    EXPECT_EQ(talk.tally().keys.Value(), 8u);
    EXPECT_EQ(talk.tally().hits.Value(), 3u);
    EXPECT_EQ(talk.tally().misses.Value(), 3u);
    EXPECT_EQ(talk.Faults(Fault::kServerError), 1u);
    EXPECT_EQ(talk.AllFaults(), 1u) << talk.tally().first_fault;
  };
  const size_t size = stream(Talk("get*2")).size();
  for (size_t cut = 0; cut <= size; ++cut) {
    Talk talk("get*2");
    talk.Asked(4);
    const std::string whole = stream(talk);
    ASSERT_TRUE(cut == 0 || talk.Hear(whole.substr(0, cut)));
    ASSERT_TRUE(cut == size || talk.Hear(whole.substr(cut)));
    check(talk);
  }
  Talk talk("get*2");
  talk.Asked(4);
  for (const char c : stream(talk)) ASSERT_TRUE(talk.Hear(absl::string_view(&c, 1)));
  check(talk);
  Latencies latencies;
  latencies.Add(talk.tally().latencies[0]);
  EXPECT_EQ(latencies.count(), 4u);
  EXPECT_EQ(latencies.max_ns(), 300);
}

TEST(Conversation, KnowsEachWritesWords) {
  struct Case {
    const char* verb;
    const char* done;
    const char* declined;
  };
  for (const Case& c : {Case{"set", "STORED", nullptr}, Case{"add", "STORED", "NOT_STORED"},
                        Case{"replace", "STORED", "NOT_STORED"},
                        Case{"append", "STORED", "NOT_STORED"},
                        Case{"prepend", "STORED", "NOT_STORED"},
                        Case{"delete", "DELETED", "NOT_FOUND"},
                        Case{"touch", "TOUCHED", "NOT_FOUND"}, Case{"incr", "12", "NOT_FOUND"},
                        Case{"decr", "0", "NOT_FOUND"}, Case{"ping", "PONG", nullptr}}) {
    Talk talk(c.verb);
    talk.Asked(2);
    ASSERT_TRUE(talk.Hear(absl::StrCat(c.done, "\r\n"))) << c.verb;
    EXPECT_EQ(talk.tally().declined.Value(), 0u);
    if (c.declined != nullptr) {
      ASSERT_TRUE(talk.Hear(absl::StrCat(c.declined, "\r\n"))) << c.verb;
      EXPECT_EQ(talk.tally().declined.Value(), 1u);
    }
    EXPECT_EQ(talk.AllFaults(), 0u) << c.verb;
    Talk wrong(c.verb);
    wrong.Asked();
    EXPECT_FALSE(wrong.Hear("END\r\n")) << c.verb;
    EXPECT_EQ(wrong.Faults(Fault::kUnexpected), 1u);
  }
}

TEST(Conversation, CountsErrorsByKindAndGoesOn) {
  Talk talk("set");
  talk.Asked(4);
  EXPECT_TRUE(talk.Hear("ERROR\r\nCLIENT_ERROR bad\r\nSERVER_ERROR out of memory\r\nSTORED\r\n"));
  EXPECT_EQ(talk.Faults(Fault::kError), 1u);
  EXPECT_EQ(talk.Faults(Fault::kClientError), 1u);
  EXPECT_EQ(talk.Faults(Fault::kServerError), 1u);
  EXPECT_EQ(talk.tally().first_fault, "ERROR");
  EXPECT_EQ(talk.tally().requests.Value(), 4u);
}

TEST(Conversation, GivesUpOnRepliesThatDoNotBelong) {
  for (const char* nonsense :
       {"STORED\r\n", "VALUE k0 7\r\n", "VALUE k0\r\n", "VALUE k0 7 x\r\n", "VALUE k0 7 2\r\nabcd\r\n",
        "\r\n", "\n", "END\n", "VALUE k0 7 99999999999999999999999\r\n", "VALUE k0 7 -1\r\n"}) {
    Talk talk("get", false);
    talk.Asked(2);
    EXPECT_FALSE(talk.Hear(nonsense)) << nonsense;
    EXPECT_EQ(talk.Faults(Fault::kUnexpected), 1u) << nonsense;
    talk.conversation.Abandon(talk.traffic.get());
    EXPECT_EQ(talk.Faults(Fault::kUnanswered), 2u);
  }
  Talk silent("get");
  EXPECT_FALSE(silent.Hear("END\r\n")) << "nothing was asked";
  Talk twice("get", false);
  twice.Asked();
  EXPECT_FALSE(twice.Hear(absl::StrCat(twice.Block("k0"), twice.Block("k0"), "END\r\n")));
}

TEST(Conversation, VerifiesKeyFlagsAndBytes) {
  const auto wrong = [](const std::string& reply) {
    Talk talk("get*2");
    talk.Asked();
    EXPECT_TRUE(talk.Hear(absl::StrCat(reply, "END\r\n")));
    EXPECT_EQ(talk.tally().requests.Value(), 1u);
    return talk.Faults(Fault::kWrongValue);
  };
  const Talk made("get");
  EXPECT_EQ(wrong(made.Block("k0") + made.Block("k1")), 0u);
  EXPECT_EQ(wrong(made.Block("k1")), 0u);
  EXPECT_EQ(wrong(made.Block("k1") + made.Block("k0")), 1u) << "not in the order asked";
  EXPECT_EQ(wrong(made.Block("k9")), 1u) << "not asked";
  EXPECT_EQ(wrong(absl::StrCat("VALUE k0 0 20\r\n", made.Value("k0"), "\r\n")), 1u) << "flags";
  EXPECT_EQ(wrong(absl::StrCat("VALUE k0 7 20\r\n", made.Value("k1"), "\r\n")), 1u)
      << "another key's";
  EXPECT_EQ(wrong(absl::StrCat("VALUE k0 7 15\r\n", made.Value("k0").substr(0, 15), "\r\n")), 1u)
      << "cut";
}

TEST(Conversation, CasAsksForTheTokenAndGivesItBack) {
  Talk talk("cas");
  EXPECT_EQ(talk.Asked(), "gets k0\r\n");
  ASSERT_TRUE(talk.Hear(absl::StrCat(talk.Block("k0", " 4711"), "END\r\n")));
  EXPECT_EQ(talk.conversation.pending(), 1u);
  EXPECT_EQ(talk.tally().requests.Value(), 0u);
  EXPECT_TRUE(absl::StartsWith(talk.Said(), "cas k0 7 0 20 4711\r\n"));
  ASSERT_TRUE(talk.Hear("EXISTS\r\n"));
  EXPECT_EQ(talk.tally().requests.Value(), 1u);
  EXPECT_EQ(talk.tally().declined.Value(), 1u);
  talk.Asked();
  ASSERT_TRUE(talk.Hear("END\r\n")) << "a miss has no token";
  EXPECT_EQ(talk.conversation.pending(), 0u);
  EXPECT_EQ(talk.tally().declined.Value(), 2u);
  EXPECT_EQ(talk.AllFaults(), 0u);
}

TEST(Conversation, NoreplyIsDoneWhenSomethingLaterIsAnswered) {
  Talk talk("set-noreply");
  talk.Asked(3);
  EXPECT_EQ(talk.conversation.pending(), 4u);
  ASSERT_TRUE(talk.Hear("VERSION 1.6.18\r\n"));
  EXPECT_EQ(talk.conversation.pending(), 0u);
  EXPECT_EQ(talk.tally().requests.Value(), 3u);
  Latencies latencies;
  latencies.Add(talk.tally().latencies[0]);
  EXPECT_EQ(latencies.count(), 0u);
}

}  // namespace
}  // namespace tools::load
