#include "proxy/translate/envelope.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "absl/strings/str_cat.h"

namespace proxy::translate {
namespace {

using namespace std::string_literals;

constexpr EnvelopeForm kForms[] = {EnvelopeForm::kTransparent, EnvelopeForm::kFlags4,
                                   EnvelopeForm::kRaw, EnvelopeForm::kNonce};

std::string Stored(EnvelopeForm form, uint32_t flags, absl::string_view value, uint64_t nonce = 7) {
  return absl::StrCat(Wrap(form, flags, value, nonce).view(), value);
}

void ExpectReads(EnvelopeForm form, absl::string_view stored, absl::string_view value,
                 uint32_t flags) {
  const std::optional<Unwrapped> read = Unwrap(form, stored);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->value, value);
  EXPECT_EQ(read->flags, flags);
}

TEST(Envelope, LaysOutTheBytesAsDrawn) {
  EXPECT_EQ(Stored(EnvelopeForm::kTransparent, 0, "v"), "v");
  EXPECT_EQ(Stored(EnvelopeForm::kTransparent, 0x01020304, "v"), "\xF5MP\x01\x01\x02\x03\x04v"s);
  EXPECT_EQ(Stored(EnvelopeForm::kTransparent, 0, "\xF5MPx"), "\xF5MP\x01\0\0\0\0\xF5MPx"s);
  EXPECT_EQ(Stored(EnvelopeForm::kFlags4, 0x01020304, "v"), "\x01\x02\x03\x04v"s);
  EXPECT_EQ(Stored(EnvelopeForm::kFlags4, 0, ""), "\0\0\0\0"s);
  EXPECT_EQ(Stored(EnvelopeForm::kRaw, 9, "v"), "v");
  EXPECT_EQ(Stored(EnvelopeForm::kNonce, 5, "v", 0x1112131415161718),
            "\xF5MP\x02\x11\x12\x13\x14\x15\x16\x17\x18\0\0\0\5v"s);
}

TEST(Envelope, LaysOutAStateAsDrawn) {
  const ItemState state{.stale = true, .ranked = true, .token = 0x1112131415161718};
  EXPECT_EQ(WrapWithState(state, 5).view(), "\xF5MP\x03\x05\x11\x12\x13\x14\x15\x16\x17\x18\0\0\0\5"s);
  EXPECT_EQ(WrapWithState({.win_taken = true}, 0).view(), "\xF5MP\x03\x02" + std::string(12, '\0'));
}

TEST(Envelope, EveryStateComesBack) {
  const std::string values[] = {"", "v", "\xF5MP\x03", std::string(1000, 'x')};
  for (int bits = 0; bits < 8; ++bits) {
    const ItemState state{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0,
                          0xfedcba9876543210u + static_cast<uint64_t>(bits)};
    for (const std::string& value : values) {
      const std::string stored = absl::StrCat(WrapWithState(state, 0xffffffff).view(), value);
      for (const EnvelopeForm form : {EnvelopeForm::kTransparent, EnvelopeForm::kNonce}) {
        ASSERT_TRUE(KeepsState(form));
        ExpectReads(form, stored, value, 0xffffffff);
        const std::optional<ItemState> read = Unwrap(form, stored)->state;
        ASSERT_TRUE(read.has_value());
        EXPECT_EQ(read->stale, state.stale);
        EXPECT_EQ(read->win_taken, state.win_taken);
        EXPECT_EQ(read->ranked, state.ranked);
        EXPECT_EQ(read->token, state.token);
      }
    }
  }
}

// raw and flags4 data belongs to readers that know no states.
TEST(Envelope, FormsWithoutStateReadNone) {
  const std::string stored = absl::StrCat(WrapWithState({.stale = true}, 5).view(), "v");
  for (const EnvelopeForm form : {EnvelopeForm::kRaw, EnvelopeForm::kFlags4}) {
    EXPECT_FALSE(KeepsState(form));
    EXPECT_FALSE(Unwrap(form, stored)->state.has_value());
  }
  ExpectReads(EnvelopeForm::kRaw, stored, stored, 0);
}

// A value that looks like a state when it is stored does not become one.
TEST(Envelope, NoValueIsTakenForAState) {
  const std::string value = absl::StrCat(WrapWithState({.stale = true, .token = 9}, 5).view(), "v");
  for (const EnvelopeForm form : {EnvelopeForm::kTransparent, EnvelopeForm::kNonce}) {
    const std::string stored = Stored(form, 0, value);
    ExpectReads(form, stored, value, 0);
    EXPECT_FALSE(Unwrap(form, stored)->state.has_value());
  }
}

TEST(Envelope, LeavesWhatOthersStoredAlone) {
  for (const std::string& bytes :
       {""s, "\xF5"s, "\xF5M"s, "\xF5MP"s, "\xF5MP\x01"s, "\xF5MP\x01\0\0\0"s, "\xF5MP\x02"s,
        "\xF5MP\x02" + std::string(11, 'n'), "\xF5MP\x03\x01" + std::string(11, 't'),
        "\xF5MP\x03\x08" + std::string(40, 'x'), "\xF5MP\x04" + std::string(40, 'x'), "plain"s}) {
    ExpectReads(EnvelopeForm::kTransparent, bytes, bytes, 0);
    ExpectReads(EnvelopeForm::kNonce, bytes, bytes, 0);
    ExpectReads(EnvelopeForm::kRaw, bytes, bytes, 0);
  }
}

TEST(Envelope, ReadsAnEmptyMarkedValue) {
  ExpectReads(EnvelopeForm::kTransparent, "\xF5MP\x01\0\0\0\1"s, "", 1);
  ExpectReads(EnvelopeForm::kNonce, "\xF5MP\x02" + std::string(8, 'n') + "\0\0\0\2"s, "", 2);
}

TEST(Envelope, TakesAFlags4ValueShorterThanItsFlagsForAbsent) {
  for (size_t size = 0; size < 4; ++size) {
    EXPECT_FALSE(Unwrap(EnvelopeForm::kFlags4, std::string(size, 'x')).has_value());
  }
  ExpectReads(EnvelopeForm::kFlags4, "\0\0\0\7"s, "", 7);
}

TEST(Envelope, NonceMakesEqualValuesDiffer) {
  EXPECT_NE(Stored(EnvelopeForm::kNonce, 1, "v", 1), Stored(EnvelopeForm::kNonce, 1, "v", 2));
}

// Random bytes, with beginnings near the magic made likely.
std::string RandomValue(std::mt19937_64& random) {
  static const std::string kStarts[] = {"",        "\xF5",        "\xF5M",       "\xF5MP",
                                        "\xF5MP\x01", "\xF5MP\x02", "\xF5MP\x01\0\0\0\0"s,
                                        "\xF5MP\x02" + std::string(12, '\0'),
                                        "\xF5MP\x03", "\xF5MP\x03\x01" + std::string(12, '\0')};
  std::string value = kStarts[random() % std::size(kStarts)];
  for (size_t n = random() % 24; n > 0; --n) value.push_back(static_cast<char>(random()));
  return value;
}

TEST(Envelope, EveryByteStringSurvivesEveryForm) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 50'000; ++i) {
    const std::string value = RandomValue(random);
    const uint32_t flags = random() % 4 == 0 ? 0 : static_cast<uint32_t>(random());
    for (EnvelopeForm form : kForms) {
      const std::string stored = Stored(form, flags, value, random());
      ExpectReads(form, stored, value, form == EnvelopeForm::kRaw ? 0 : flags);
      if (HasFailure()) return;
    }
    // A reader of either marked form understands the other.
    ExpectReads(EnvelopeForm::kNonce, Stored(EnvelopeForm::kTransparent, flags, value), value, flags);
    ExpectReads(EnvelopeForm::kTransparent, Stored(EnvelopeForm::kNonce, flags, value), value, flags);
  }
}

}  // namespace
}  // namespace proxy::translate
