// The writing half: an answer into a line of flags.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "proto/memcache/meta.h"
#include "proto/memcache/text_codec.h"

namespace proto::memcache {

using core::OutBuffer;

namespace {

constexpr absl::string_view kLineEnd = "\r\n";
// Code, length, seven flags with a number, W X Z; "ME" and its names.
constexpr size_t kNumbersBytesMax = 256;
// Values up to this are written in one go with their line.
constexpr size_t kWholeValueMax = 1024;

size_t LineBytesMax(const ReplyContext& context) {
  constexpr size_t kLetters = sizeof "Ok b  ";
  if (context.echo == nullptr) return kNumbersBytesMax;
  return kNumbersBytesMax + kLetters + context.echo->opaque.size() + context.echo->key.size();
}
static_assert(kNumbersBytesMax + 2 * kKeyBytesMax + kWholeValueMax <= OutBuffer::kReserveMax);

// A reply's line, and what is written in one go with it, in the memory of the output.
class Line {
 public:
  Line(const ReplyContext& context, OutBuffer* out, size_t value_bytes = 0)
      : out_(*out), begin_(out->Reserve(LineBytesMax(context) + value_bytes)), at_(begin_) {}

  void Write(absl::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void WriteNumber(uint64_t number) {
    constexpr size_t kDigitsMax = 20;  // 2^64 - 1.
    at_ = std::to_chars(at_, at_ + kDigitsMax, number).ptr;
  }
  void WriteFlag(char letter, uint64_t number) {
    WriteFlag(letter);
    WriteNumber(number);
  }
  void WriteFlag(char letter) {
    *at_++ = ' ';
    *at_++ = letter;
  }
  // Seconds; -1 = for ever.
  void WriteTtl(int32_t ttl_sec) {
    WriteFlag('t');
    ttl_sec < 0 ? Write("-1") : WriteNumber(static_cast<uint64_t>(ttl_sec));
  }
  void End() {
    Write(kLineEnd);
    out_.Commit(at_ - begin_);
  }

 private:
  OutBuffer& out_;
  char* const begin_;
  char* at_;
};

// Calls `write` with each letter that the reply is to return.
template <class F>
void ForEachFlag(const ReplyContext& context, F write) {
  for (uint32_t list = context.opaque; list != 0; list >>= kReturnFlagBits) {
    write(kReturnFlags[(list & ((1 << kReturnFlagBits) - 1)) - 1]);
  }
}

// O and k, which any answer repeats.
void WriteEcho(const ReplyContext& context, char letter, Line* line) {
  if (context.echo == nullptr) return;
  line->Write(" ");
  if (letter == 'O') return line->Write(context.echo->opaque);
  line->Write("k");
  line->Write(context.echo->key);
  if (context.echo->base64) line->Write(" b");
}

// A code with what is repeated; of ms also what became of the item.
void AppendCode(const ReplyContext& context, absl::string_view code, const Response& rsp,
                OutBuffer* out) {
  const bool sets = context.verb == Verb::kMetaSet;
  Line line(context, out);
  line.Write(code);
  ForEachFlag(context, [&](char letter) {
    if (letter == 'O' || letter == 'k') {
      WriteEcho(context, letter, &line);
    } else if (sets && letter == 'c') {
      line.WriteFlag('c', rsp.cas);
    } else if (sets) {
      const bool stored = rsp.status == Status::kStored;
      line.WriteFlag('s', stored || context.echo == nullptr ? rsp.bytes : context.echo->value_bytes);
    }
  });
  line.End();
}

void WriteItemFlag(const ReplyContext& context, const Item& item, char letter, Line* line) {
  switch (letter) {
    case 's': return line->WriteFlag('s', item.value.size());
    case 't': return line->WriteTtl(item.ttl_sec);
    case 'c': return line->WriteFlag('c', item.cas);
    case 'f': return line->WriteFlag('f', item.flags);
    case 'l':
      if (!item.access_known) return;
      return line->WriteFlag('l', static_cast<uint64_t>(std::max(item.last_access_sec, 0)));
    case 'h':
      if (!item.access_known) return;
      return line->WriteFlag('h', item.hit_before ? 1 : 0);
    default: return WriteEcho(context, letter, line);
  }
}

void AppendItem(const ReplyContext& context, Item&& item, OutBuffer* out) {
  const bool with_value = (context.want & kWantValue) != 0 && !item.unchanged;
  const bool whole = with_value && item.value.size() <= kWholeValueMax;
  Line line(context, out, whole ? item.value.size() : 0);
  if (with_value) {
    line.Write("VA ");
    line.WriteNumber(item.value.size());
  } else {
    line.Write("HD");
  }
  ForEachFlag(context, [&](char letter) { WriteItemFlag(context, item, letter, &line); });
  if (item.win_taken) line.WriteFlag('Z');
  if (item.stale) line.WriteFlag('X');
  if (item.won) line.WriteFlag('W');
  if (whole) {
    line.Write(kLineEnd);
    line.Write(item.value.view());
  }
  line.End();
  if (!with_value || whole) return;
  out->Append(std::move(item.value));
  out->Append(kLineEnd);
}

void AppendNumber(const ReplyContext& context, const Response& rsp, OutBuffer* out) {
  const std::string number = absl::StrCat(rsp.number);
  const bool with_value = (context.want & kWantValue) != 0;
  Line line(context, out);
  if (with_value) {
    line.Write("VA ");
    line.WriteNumber(number.size());
  } else {
    line.Write("HD");
  }
  ForEachFlag(context, [&](char letter) {
    if (letter == 'c') return line.WriteFlag('c', rsp.cas);
    if (letter == 't') return line.WriteTtl(rsp.ttl_sec);
    WriteEcho(context, letter, &line);
  });
  if (with_value) {
    line.Write(kLineEnd);
    line.Write(number);
  }
  line.End();
}

// What is not known of the item is not told.
void AppendDebug(const ReplyContext& context, const Item& item, OutBuffer* out) {
  Line line(context, out);
  line.Write("ME ");
  if (context.echo != nullptr) line.Write(context.echo->key);
  line.Write(absl::StrCat(" exp=", item.ttl_sec));
  if (item.access_known) line.Write(absl::StrCat(" la=", item.last_access_sec));
  line.Write(absl::StrCat(" cas=", item.cas));
  if (item.access_known) line.Write(item.hit_before ? " fetch=yes" : " fetch=no");
  line.Write(absl::StrCat(" cls=1 size=",
                          ItemBytes(item.key.size(), item.value.size(), item.flags)));
  line.End();
}

}  // namespace

void ReplyContext::Free() { delete std::exchange(echo, nullptr); }

MetaEcho* EchoOf(const Request& req) {
  const bool key = (req.want & kWantKey) != 0 && !req.keys.empty();
  const bool size = (req.want & kWantSize) != 0 && req.op == Op::kStore;
  if (!key && !size && req.opaque_token.empty()) return nullptr;
  auto* const echo = new MetaEcho();
  echo->opaque = std::string(req.opaque_token);
  echo->base64 = req.base64_key;
  echo->value_bytes = static_cast<uint32_t>(req.value.size());
  if (key) echo->key = req.base64_key ? absl::Base64Escape(req.key()) : std::string(req.key());
  return echo;
}

void ComposeMeta(const ReplyContext& context, Response&& rsp, OutBuffer* out) {
  const bool quiet = context.noreply;
  switch (rsp.status) {
    case Status::kValues:
      if (!rsp.items.empty()) return AppendItem(context, std::move(rsp.items[0]), out);
      return quiet ? void() : AppendCode(context, "EN", rsp, out);
    case Status::kDebug:
      if (!rsp.items.empty()) return AppendDebug(context, rsp.items[0], out);
      return out->Append("EN\r\n");
    case Status::kNumber:
      return quiet ? void() : AppendNumber(context, rsp, out);
    case Status::kOk:
      return out->Append("MN\r\n");
    case Status::kStored:
    case Status::kDeleted:
    case Status::kTouched:
      return quiet ? void() : AppendCode(context, "HD", rsp, out);
    case Status::kNotStored:
      return AppendCode(context, "NS", rsp, out);
    case Status::kExists:
      return AppendCode(context, "EX", rsp, out);
    case Status::kNotFound:
      if (context.verb == Verb::kMetaDebug) return out->Append("EN\r\n");
      return AppendCode(context, "NF", rsp, out);
    default:  // Errors, which are spelled as in the classic dialect, and are never silent.
      return TextCodec::Compose({.verb = context.verb}, std::move(rsp), out);
  }
}

}  // namespace proto::memcache
