#include "proto/memcache/klog.h"

#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/net/out_buffer.h"
#include "proto/memcache/codec.h"

namespace proto::memcache {

namespace {

// What follows the key within the quotes.
std::string WordsAfterKey(const Request& req) {
  const int64_t ttl = req.exptime.value_or(0);
  switch (req.op) {
    case Op::kStore: {
      if (req.value_too_large) return " - - -";
      std::string words = absl::StrCat(" ", req.flags, " ", ttl, " ", req.value.size());
      if (req.verb == Verb::kCas || (req.verb == Verb::kMetaSet && req.cas.has_value())) {
        absl::StrAppend(&words, " ", req.cas.value_or(0));
      }
      return words;
    }
    case Op::kArithmetic:
      return absl::StrCat(" ", req.delta);
    case Op::kTouch:
      return absl::StrCat(" ", ttl);
    case Op::kGet:
    case Op::kDelete:  // md with I.
      return req.exptime.has_value() ? absl::StrCat(" ", ttl) : "";
    default:
      return "";
  }
}

// What the codec will make of `rsp`, which has no items.
size_t ReplyBytes(const ReplyContext& context, const Response& rsp) {
  Response copy(rsp.status);
  copy.number = rsp.number;
  copy.text = rsp.text;
  core::OutBuffer out;
  Codec::Compose(context, std::move(copy), &out);
  return out.size();
}

// Stands between a service and a session for one request. Owns itself: a Reply is sent or dropped
// exactly once, and either ends it.
class LoggedReply final : public core::ReplySink<Response> {
 public:
  LoggedReply(const Request& req, core::CommandSink* sink, core::Reply<Response> reply)
      : sink_(sink),
        reply_(std::move(reply)),
        context_(Codec::ContextOf(req)),
        is_get_(req.op == Op::kGet),
        words_(WordsAfterKey(req)),
        keys_(req.keys.begin(), req.keys.end()) {}
  ~LoggedReply() { context_.Release(); }

  void Deliver(core::SessionRef, uint64_t, Response&& rsp) override {
    const std::unique_ptr<LoggedReply> self(this);
    if (is_get_ && rsp.status == Status::kValues) {
      WriteValues(rsp);
    } else {
      const KlogCode code = KlogCodeOf(rsp);
      const size_t bytes = ReplyBytes(context_, rsp);
      for (const std::string& key : keys_) WriteLine(key, code, bytes);
    }
    std::move(reply_).Send(std::move(rsp));
  }
  void Abandon(core::SessionRef, uint64_t) override { delete this; }

 private:
  // Items are the hits in the order asked.
  void WriteValues(const Response& rsp) {
    auto item = rsp.items.begin();
    for (const std::string& key : keys_) {
      if (item != rsp.items.end() && item->key == key) {
        WriteLine(key, KlogCode::kHit, item->value.size());
        ++item;
      } else {
        WriteLine(key, KlogCode::kMiss, 0);
      }
    }
  }

  void WriteLine(absl::string_view key, KlogCode code, size_t bytes) {
    std::string line = absl::StrCat("\"", VerbName(context_.verb), " ");
    AppendKlogKey(key, &line);
    absl::StrAppend(&line, words_, "\" ", static_cast<int>(code), " ", bytes);
    sink_->Write(line);
  }

  core::CommandSink* const sink_;
  core::Reply<Response> reply_;
  ReplyContext context_;
  const bool is_get_;
  const std::string words_;
  const std::vector<std::string> keys_;  // The request's views die before the answer comes.
};

}  // namespace

KlogCode KlogCodeOf(const Response& rsp) {
  switch (rsp.status) {
    case Status::kValues:
      return rsp.items.empty() ? KlogCode::kMiss : KlogCode::kHit;
    case Status::kTouched:
    case Status::kDebug:
      return KlogCode::kHit;
    case Status::kStored:
    case Status::kNumber:
    case Status::kOk:
      return KlogCode::kStored;
    case Status::kExists:
      return KlogCode::kExists;
    case Status::kDeleted:
      return KlogCode::kDeleted;
    case Status::kNotFound:
      return KlogCode::kNotFound;
    case Status::kNotStored:
      return KlogCode::kNotStored;
    case Status::kNonNumeric:
    case Status::kError:
    case Status::kClientError:
    case Status::kRaw:
    case Status::kVersion:
    case Status::kStats:
    case Status::kReset:
      return KlogCode::kClientError;
    case Status::kServerError:
      return absl::StartsWith(rsp.text, kTimeoutText) ? KlogCode::kTimeout : KlogCode::kServerError;
    case Status::kTooLarge:
    case Status::kOutOfMemory:
      return KlogCode::kServerError;
  }
  return KlogCode::kServerError;
}

void AppendKlogKey(absl::string_view key, std::string* out) {
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (byte > 0x20 && byte < 0x7f) {
      out->push_back(c);
    } else {
      absl::StrAppendFormat(out, "\\x%02x", byte);
    }
  }
}

core::Reply<Response> LogReply(const Request& req, core::CommandSink* sink,
                               core::Reply<Response> reply) {
  return core::Reply<Response>(new LoggedReply(req, sink, std::move(reply)), {}, 0);
}

}  // namespace proto::memcache
