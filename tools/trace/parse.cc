// Fields of lines. See parse.h.
#include "tools/trace/parse.h"

#include <array>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace trace {
namespace {

// memcached: an exptime above this is a date (30 days).
constexpr int64_t kRelativeMaxSec = 60 * 60 * 24 * 30;
// An item that was stored already dead is kept for no longer than a trace can tell.
constexpr int64_t kTtlLeastSec = 1;
// Values larger than any server takes are refused by the server, not here; this keeps sums sane.
constexpr int64_t kValueBytesMax = int64_t{1} << 30;

Op OpOf(absl::string_view name) {
  if (name == "get" || name == "gets" || name == "gat" || name == "gats") return Op::kGet;
  if (name == "set" || name == "cas" || name == "replace" || name == "append" ||
      name == "prepend") {
    return Op::kSet;
  }
  if (name == "add") return Op::kAdd;
  if (name == "delete") return Op::kDelete;
  return Op::kOther;
}

// Cuts the next field off *rest. False if there is none.
bool Cut(char separator, absl::string_view* rest, absl::string_view* field) {
  if (rest->data() == nullptr) return false;
  const size_t at = rest->find(separator);
  *field = rest->substr(0, at);
  *rest = at == absl::string_view::npos ? absl::string_view() : rest->substr(at + 1);
  return true;
}

// What AppendKlogKey() wrote: \xHH, \" and \\. (absl::CUnescape takes more than two digits.)
bool Unescape(absl::string_view from, std::string* to) {
  to->clear();
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] != '\\') {
      to->push_back(from[i]);
    } else if (from.substr(i + 1, 1) == "x" && i + 3 < from.size() &&
               absl::ascii_isxdigit(static_cast<unsigned char>(from[i + 2])) &&
               absl::ascii_isxdigit(static_cast<unsigned char>(from[i + 3]))) {
      *to += absl::HexStringToBytes(from.substr(i + 2, 2));
      i += 3;
    } else if (i + 1 < from.size() && (from[i + 1] == '"' || from[i + 1] == '\\')) {
      to->push_back(from[++i]);
    } else {
      return false;
    }
  }
  return true;
}

int64_t TtlOf(int64_t exptime, int64_t second) {
  if (exptime > kRelativeMaxSec) return std::max(exptime - second, kTtlLeastSec);
  return exptime < 0 ? kTtlLeastSec : exptime;
}

}  // namespace

bool Parser::Parse(absl::string_view line, Request* request) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line.find('"') == absl::string_view::npos ? ParseCsv(line, request)
                                                   : ParseKlog(line, request);
}

bool Parser::ParseCsv(absl::string_view line, Request* request) {
  // Keys of some public traces contain commas; the six other fields do not.
  std::array<absl::string_view, 5> last;  // key size, value size, client, operation, ttl
  absl::string_view second_text;
  absl::string_view rest = line;
  if (!Cut(',', &rest, &second_text)) return false;
  for (size_t i = last.size(); i-- > 0;) {
    const size_t at = rest.rfind(',');
    if (at == absl::string_view::npos) return false;
    last[i] = rest.substr(at + 1);
    rest = rest.substr(0, at);
  }
  Request parsed;
  double second = 0;
  if (rest.empty() || !absl::SimpleAtod(second_text, &second) || !(second >= 0 && second < 1e12) ||
      !absl::SimpleAtoi(last[0], &parsed.key_bytes) ||
      !absl::SimpleAtoi(last[1], &parsed.value_bytes) || parsed.value_bytes < 0 ||
      parsed.value_bytes > kValueBytesMax || last[3].empty() ||
      !absl::SimpleAtoi(last[4], &parsed.ttl_sec) || parsed.ttl_sec < 0) {
    return false;
  }
  parsed.second = static_cast<int64_t>(second);
  parsed.key = rest;
  if (parsed.key_bytes == 0) parsed.key_bytes = static_cast<uint32_t>(rest.size());
  parsed.op = OpOf(last[3]);
  *request = parsed;
  return true;
}

bool Parser::ParseKlog(absl::string_view line, Request* request) {
  const size_t open = line.find('"');
  size_t close = open + 1;
  while (close < line.size() && line[close] != '"') close += line[close] == '\\' ? 2 : 1;
  if (close >= line.size()) return false;
  const absl::string_view quoted = line.substr(open + 1, close - open - 1);
  const std::vector<absl::string_view> words = absl::StrSplit(quoted, ' ');
  const std::vector<absl::string_view> codes =
      absl::StrSplit(line.substr(close + 1), ' ', absl::SkipEmpty());
  absl::Time time;
  std::string error;
  int64_t code = 0;
  int64_t bytes = 0;
  if (words.size() < 2 || words[1].empty() || codes.size() < 2 ||
      !absl::ParseTime(absl::RFC3339_full,
                       absl::StripTrailingAsciiWhitespace(line.substr(0, open)), &time, &error) ||
      !absl::SimpleAtoi(codes[0], &code) || !absl::SimpleAtoi(codes[1], &bytes)) {
    return false;
  }
  Request parsed;
  parsed.op = OpOf(words[0]);
  parsed.second = absl::ToUnixSeconds(time);
  if (parsed.op == Op::kSet || parsed.op == Op::kAdd) {
    int64_t exptime = 0;
    if (words.size() < 5) return false;
    // "-": the value was too large, and so it is here.
    if (words[4] == "-") {
      parsed.op = Op::kOther;
    } else if (!absl::SimpleAtoi(words[3], &exptime) ||
               !absl::SimpleAtoi(words[4], &parsed.value_bytes)) {
      return false;
    }
    parsed.ttl_sec = TtlOf(exptime, parsed.second);
  }
  if (!Unescape(words[1], &unescaped_)) return false;
  parsed.key = unescaped_;
  parsed.key_bytes = static_cast<uint32_t>(unescaped_.size());
  if (parsed.op == Op::kSet || parsed.op == Op::kAdd) {
    ttl_of_[unescaped_] = parsed.ttl_sec;
  } else if (parsed.op == Op::kGet) {
    constexpr int64_t kHit = 4;  // proto::memcache::KlogCode
    parsed.value_bytes = code == kHit ? bytes : kUnknownBytes;
    const auto known = ttl_of_.find(unescaped_);
    if (known != ttl_of_.end()) parsed.ttl_sec = known->second;
  }
  *request = parsed;
  return true;
}

}  // namespace trace
