#include "proto/memcache/login.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "proto/memcache/number.h"

namespace proto::memcache {

using core::ParseResult;
using core::ParseStatus;

namespace {

constexpr size_t kUnfinishedLineBytesMax = 2048;  // memcached 1.6, proto_text.c.
// What memcached reads at once. It waits for a longer block until that much has come, and hangs up.
constexpr size_t kBlockBytesMax = 16 * 1024;

ParseResult Say(ParseStatus status, absl::string_view reply, size_t consumed, Request* req,
                bool close = false) {
  req->rejection = reply;
  return {status, consumed, 0, close};
}

ParseResult Refuse(absl::string_view reply, size_t consumed, Request* req, bool close = false) {
  return Say(ParseStatus::kInvalid, reply, consumed, req, close);
}

std::vector<absl::string_view> Words(absl::string_view text) {
  return absl::StrSplit(text.substr(0, text.find('\0')), ' ', absl::SkipEmpty());
}

}  // namespace

ParseResult Login::ParseText(absl::string_view in, Request* req) {
  constexpr absl::string_view kUnauthenticated = "CLIENT_ERROR unauthenticated\r\n";
  if (in.size() < need_) return {ParseStatus::kNeedMore, 0, need_};
  need_ = 0;
  req->Clear();
  const size_t line_bytes = line_.Find(in);
  if (line_bytes == 0) {
    if (in.size() <= kUnfinishedLineBytesMax) return {ParseStatus::kNeedMore};
    return Refuse({}, in.size(), req, /*close=*/true);
  }
  absl::string_view line = in.substr(0, line_bytes - 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  const std::vector<absl::string_view> words = Words(line);
  uint32_t value_bytes = 0;
  if (words.size() < 5 || words[0] != "set" || !ReadUnsigned32(words[4], &value_bytes)) {
    return Refuse(kUnauthenticated, line_bytes, req);
  }
  if (value_bytes > kBlockBytesMax) return Refuse({}, in.size(), req, /*close=*/true);
  const size_t all_bytes = line_bytes + value_bytes + 2;
  if (in.size() < all_bytes) {
    need_ = all_bytes;
    return {ParseStatus::kNeedMore, 0, need_};
  }
  return ParseBlock(in.substr(line_bytes, value_bytes + 2), all_bytes, req);
}

ParseResult Login::ParseBlock(absl::string_view block, size_t consumed, Request* req) {
  if (!absl::EndsWith(block, "\r\n")) {
    return Refuse("CLIENT_ERROR bad command line termination\r\n", consumed, req);
  }
  block.remove_suffix(2);
  const std::vector<absl::string_view> words = Words(block);
  if (words.size() < 2) {
    return Refuse("CLIENT_ERROR bad authentication token format\r\n", consumed, req);
  }
  const Outcome outcome = Try(words[0], words[1]);
  if (outcome == Outcome::kWelcome) {
    return Say(ParseStatus::kAnswered, "STORED\r\n", consumed, req);
  }
  return Refuse("CLIENT_ERROR authentication failure\r\n", consumed, req,
                outcome == Outcome::kHangUp);
}

Login::Outcome Login::Start(absl::string_view mechanism, absl::string_view data) {
  Forget();
  if (!absl::EqualsIgnoreCase(mechanism, "PLAIN")) return Outcome::kRefused;
  if (!data.empty()) return Plain(data);
  started_ = true;
  return Outcome::kContinue;
}

Login::Outcome Login::Step(absl::string_view data) {
  const bool started = started_;
  Forget();
  return started ? Plain(data) : Outcome::kRefused;
}

// RFC 4616: whom to act as, who it is, the password, with zeros between. Nobody acts as another.
Login::Outcome Login::Plain(absl::string_view data) {
  const std::vector<absl::string_view> parts = absl::StrSplit(data, '\0');
  if (parts.size() != 3 || (!parts[0].empty() && parts[0] != parts[1])) return Try({}, {});
  return Try(parts[1], parts[2]);
}

Login::Outcome Login::Try(absl::string_view name, absl::string_view password) {
  switch (gate_->Try(peer_, name, password)) {
    case core::AuthGate::Verdict::kWelcome:
      done_ = true;
      return Outcome::kWelcome;
    case core::AuthGate::Verdict::kRefused:
      return Outcome::kRefused;
    case core::AuthGate::Verdict::kTooMany:
      return Outcome::kHangUp;
  }
  return Outcome::kHangUp;
}

}  // namespace proto::memcache
