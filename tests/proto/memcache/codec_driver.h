// Plays a session for a memcache codec: keeps the unread input, feeds it in the pieces a test chooses,
// and writes down each outcome as a short line, so that tables of cases can be read at a glance:
//
//   get(a,b)               a request; gets gat gats likewise        set(k) f=1 t=60 v=abc noreply
//   incr(k) d=5            and the fields its verb has              !ERROR   a rejection
//   !                      a silent rejection                       !close   ... that hangs up
//   get(a) @09 o=abcd      of a binary packet: opcode and opaque    =...     answered by the codec
//   mg(a) vct R30 >ct O1   a meta command: what is wanted, the fields by their flags, what the reply
//                          returns in which order, and the opaque
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/base/check.h"
#include "proto/memcache/codec.h"

namespace proto::memcache {

// What meta commands ask for, with their letters.
inline std::string DescribeMeta(const Request& req) {
  std::string line;
  const std::pair<uint16_t, char> wants[] = {
      {kWantValue, 'v'}, {kWantFlags, 'f'}, {kWantCas, 'c'},       {kWantTtl, 't'},
      {kWantSize, 's'},  {kWantKey, 'k'},   {kWantHitBefore, 'h'}, {kWantLastAccess, 'l'}};
  for (const auto& [bit, letter] : wants) {
    if ((req.want & bit) != 0) absl::StrAppend(&line, line.empty() ? " " : "", std::string(1, letter));
  }
  if (req.op == Op::kStore && !req.value_too_large) {
    absl::StrAppend(&line, " M", std::string(1, "SERAP"[static_cast<int>(req.mode)]));
  }
  if (req.vivify_exptime) absl::StrAppend(&line, " N", *req.vivify_exptime);
  if (req.recache_below_sec) absl::StrAppend(&line, " R", *req.recache_below_sec);
  if (req.new_cas) absl::StrAppend(&line, " E", *req.new_cas);
  if (req.decrement) line += " decr";
  if (req.invalidate) line += " I";
  if (req.drop_value) line += " x";
  if (req.no_bump) line += " u";
  if (req.old_ttl_told) line += " old-t";
  if (req.old_ttl_judged) line += " old-R";
  if (!req.route.empty()) absl::StrAppend(&line, " L", req.route);
  if (req.opaque != 0) line += " >";
  for (uint32_t list = req.opaque; list != 0; list >>= kReturnFlagBits) {
    line += kReturnFlags[(list & 15) - 1];
  }
  if (!req.opaque_token.empty()) absl::StrAppend(&line, " ", req.opaque_token);
  if (req.base64_key) line += " b";
  return line;
}

inline std::string Describe(const Request& req) {
  std::string line(VerbName(req.verb));
  if (!req.keys.empty()) absl::StrAppend(&line, "(", absl::StrJoin(req.keys, ","), ")");
  if (req.op == Op::kStore && !req.value_too_large) absl::StrAppend(&line, " f=", req.flags);
  if (req.exptime) absl::StrAppend(&line, " t=", *req.exptime);
  if (req.cas) absl::StrAppend(&line, " c=", *req.cas);
  if (req.op == Op::kArithmetic) absl::StrAppend(&line, " d=", req.delta);
  if (req.value_too_large) absl::StrAppend(&line, " too large");
  if (req.op == Op::kStore && !req.value_too_large) absl::StrAppend(&line, " v=", req.value);
  if (!req.argument.empty()) absl::StrAppend(&line, " [", req.argument, "]");
  if (req.initial) absl::StrAppend(&line, " initial=", *req.initial, " t=", req.initial_exptime);
  if (req.noreply) absl::StrAppend(&line, " noreply");
  if (req.dialect == Dialect::kMeta) line += DescribeMeta(req);
  if (req.dialect == Dialect::kBinary) {
    const absl::string_view opaque(reinterpret_cast<const char*>(&req.opaque), sizeof req.opaque);
    absl::StrAppend(&line, " @", absl::Hex(req.opcode, absl::kZeroPad2), " o=",
                    absl::CHexEscape(opaque));
  }
  return line;
}

class CodecDriver {
 public:
  explicit CodecDriver(Limits limits = {}, core::AuthGate* gate = nullptr)
      : codec_(limits, gate) {}

  // Whether to call Parse although fewer bytes than it needs are there; a session would not.
  void set_impatient(bool impatient) { impatient_ = impatient; }

  // More input arrives. Ignored once the connection is over.
  void Feed(absl::string_view piece) {
    if (over_) return;
    unread_.append(piece.data(), piece.size());
    while (!over_ && ParseOnce()) {
    }
  }

  const std::vector<std::string>& outcomes() const { return outcomes_; }
  const std::string& unread() const { return unread_; }
  bool over() const { return over_; }
  size_t need() const { return need_; }

  std::string Joined() const { return absl::StrJoin(outcomes_, "; "); }

 private:
  // Returns whether there may be more to parse.
  bool ParseOnce() {
    const bool enough = unread_.size() >= need_;
    if (unread_.empty() || (!enough && !impatient_)) return false;
    const core::ParseResult result = codec_.Parse(unread_, &req_);
    CHECK(result.consumed <= unread_.size());
    CHECK(enough || result.status == core::ParseStatus::kNeedMore);
    CHECK(result.status == core::ParseStatus::kNeedMore || result.consumed > 0);
    Note(result);
    unread_.erase(0, result.consumed);
    need_ = result.need;
    if (result.status != core::ParseStatus::kNeedMore) return true;
    CHECK(result.need == 0 || result.need > unread_.size());
    return false;
  }

  void Note(const core::ParseResult& result) {
    switch (result.status) {
      case core::ParseStatus::kNeedMore:
        return;
      case core::ParseStatus::kComplete:
        outcomes_.push_back(Describe(req_));
        return;
      case core::ParseStatus::kQuit:
        outcomes_.push_back("quit");
        over_ = true;
        return;
      case core::ParseStatus::kAnswered:
      case core::ParseStatus::kInvalid: {
        core::OutBuffer out;
        ReplyContext context = Codec::ContextOf(req_);
        Codec::Compose(context, Codec::Rejection(req_), &out);
        context.Release();
        const std::string reply = out.ToString();
        outcomes_.push_back(absl::StrCat(result.status == core::ParseStatus::kInvalid ? "!" : "=",
                                         absl::StripSuffix(reply, "\r\n"),
                                         result.close ? "close" : ""));
        over_ = result.close;
        return;
      }
    }
  }

  Codec codec_;
  Request req_;
  std::string unread_;
  std::vector<std::string> outcomes_;
  size_t need_ = 0;
  bool over_ = false;
  bool impatient_ = false;
};

// The outcomes of `wire` arriving in pieces of `step` bytes.
inline std::vector<std::string> OutcomesInSteps(absl::string_view wire, size_t step,
                                                bool impatient = false, Limits limits = {}) {
  CodecDriver driver(limits);
  driver.set_impatient(impatient);
  for (size_t at = 0; at < wire.size(); at += step) driver.Feed(wire.substr(at, step));
  return driver.outcomes();
}

// The outcomes of `wire` arriving in two pieces.
inline std::vector<std::string> OutcomesCutAt(absl::string_view wire, size_t cut,
                                              Limits limits = {}) {
  CodecDriver driver(limits);
  driver.Feed(wire.substr(0, cut));
  driver.Feed(wire.substr(cut));
  return driver.outcomes();
}

}  // namespace proto::memcache
