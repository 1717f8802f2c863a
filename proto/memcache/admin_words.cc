// See admin_words.h.
#include "proto/memcache/admin_words.h"

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "proto/memcache/number.h"

namespace proto::memcache {
namespace {

using Words = std::vector<absl::string_view>;

constexpr absl::string_view kOk = "OK\r\n";
constexpr absl::string_view kError = "ERROR\r\n";
constexpr absl::string_view kBadFormat = "CLIENT_ERROR bad command line format\r\n";
constexpr absl::string_view kNoSlabs = "CLIENT_ERROR slab reassignment disabled\r\n";
constexpr absl::string_view kNoCrawler = "CLIENT_ERROR lru crawler disabled\r\n";
constexpr absl::string_view kFixedMemory =
    "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n";
constexpr absl::string_view kNotMegabytes =
    "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n";
constexpr absl::string_view kTooFewMegabytes =
    "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n";
constexpr absl::string_view kNoShutdown = "ERROR: shutdown not enabled\r\n";

bool Silent(const Words& words) { return !words.empty() && words.back() == "noreply"; }

absl::string_view Unless(bool silent, absl::string_view answer) {
  return silent ? absl::string_view() : answer;
}

// slabs reassign <from> <to>, slabs automove <0-2> [noreply].
absl::string_view Slabs(const Words& words) {
  if (words.size() == 3 && words[0] == "reassign") return kNoSlabs;
  if (words.size() < 2 || words[0] != "automove") return kError;
  uint32_t level = 0;
  if (!ReadUnsigned32(words[1], &level)) return Unless(Silent(words), kBadFormat);
  return Unless(Silent(words), level > 2 ? kError : kNoSlabs);
}

// lru_crawler enable, disable, crawl <classes>, sleep <us>, tocrawl <items>, metadump <classes>.
absl::string_view Crawler(const Words& words) {
  if (words.size() == 1) {
    if (words[0] == "disable") return kOk;  // So it is.
    return words[0] == "enable" ? kNoCrawler : kError;
  }
  if (words.size() != 2) return kError;
  if (words[0] == "crawl" || words[0] == "metadump") return kNoCrawler;
  if (words[0] != "sleep" && words[0] != "tocrawl") return kError;
  uint32_t number = 0;
  return ReadUnsigned32(words[1], &number) ? kNoCrawler : kBadFormat;
}

// cache_memlimit <megabytes> [noreply].
absl::string_view MemoryLimit(const Words& words) {
  constexpr uint32_t kLeastMegabytes = 8;
  constexpr uint32_t kMostMegabytes = 1'000'000'000;
  if (words.empty()) return kError;
  const bool silent = Silent(words);
  uint32_t megabytes = 0;
  if (!ReadUnsigned32(words[0], &megabytes)) return Unless(silent, kError);
  if (megabytes < kLeastMegabytes) return Unless(silent, kTooFewMegabytes);
  return Unless(silent, megabytes > kMostMegabytes ? kNotMegabytes : kFixedMemory);
}

// lru mode <flat|segmented>, lru tune <4 numbers>, lru temp_ttl <seconds>, each with noreply.
absl::string_view Lru(const Words& words) {
  return Unless(Silent(words), kError);
}

}  // namespace

absl::string_view AnswerToAdmin(absl::string_view word, absl::string_view rest) {
  const Words words = absl::StrSplit(rest, ' ', absl::SkipEmpty());
  if (word == "slabs") return Slabs(words);
  if (word == "lru_crawler") return Crawler(words);
  if (word == "cache_memlimit") return MemoryLimit(words);
  if (word == "lru") return Lru(words);
  if (word == "shutdown") return kNoShutdown;
  return kError;
}

}  // namespace proto::memcache
