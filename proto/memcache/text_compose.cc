// The writing half of the text codec: an answer into reply bytes.
#include <charconv>
#include <cstring>
#include <utility>

#include "proto/memcache/text_codec.h"

namespace proto::memcache {

using core::OutBuffer;

namespace {

constexpr absl::string_view kLineEnd = "\r\n";

// Appends to a buffer of known room, as one writes by hand.
class Pen {
 public:
  explicit Pen(char* at) : at_(at) {}
  void Write(absl::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void Write(char c) { *at_++ = c; }
  void WriteNumber(uint64_t value) {
    if (value < 10) return Write(static_cast<char>('0' + value));  // Flags, most of the time.
    constexpr size_t kDigitsMax = 20;  // 2^64 - 1.
    at_ = std::to_chars(at_, at_ + kDigitsMax, value).ptr;
  }
  char* at() const { return at_; }

 private:
  char* at_;
};

constexpr absl::string_view kWord = "VALUE ";
constexpr absl::string_view kLastEnd = "\r\nEND\r\n";  // Of the last value, and of the answer.
// "VALUE <key> <flags> <length>[ <cas>]\r\n" at the longest.
constexpr size_t kItemLineMax = kWord.size() + kKeyBytesMax + 10 + 2 * 20 + 3 + kLineEnd.size();
// Values up to this are written in one go with what stands around them.
constexpr size_t kWholeValueMax = 1024;
static_assert(kItemLineMax + kWholeValueMax + kLastEnd.size() <= OutBuffer::kReserveMax);

void WriteItemLine(const Item& item, bool want_cas, Pen* pen) {
  pen->Write(kWord);
  pen->Write(item.key.substr(0, kKeyBytesMax));  // Parse lets none be longer.
  pen->Write(' ');
  pen->WriteNumber(item.flags);
  pen->Write(' ');
  pen->WriteNumber(item.value.size());
  if (want_cas) {
    pen->Write(' ');
    pen->WriteNumber(item.cas);
  }
  pen->Write(kLineEnd);
}

// One item and the `end` of it.
void AppendItem(Item&& item, bool want_cas, absl::string_view end, OutBuffer* out) {
  const bool whole = item.value.size() <= kWholeValueMax;
  char* const begin = out->Reserve(kItemLineMax + (whole ? item.value.size() + end.size() : 0));
  Pen pen(begin);
  WriteItemLine(item, want_cas, &pen);
  if (whole) {
    pen.Write(item.value.view());
    pen.Write(end);
  }
  out->Commit(pen.at() - begin);
  if (whole) return;
  out->Append(std::move(item.value));
  out->Append(end);
}

void AppendItems(const ReplyContext& context, Response&& rsp, OutBuffer* out) {
  const bool want_cas = (context.want & kWantCas) != 0;
  if (rsp.items.empty()) return out->Append("END\r\n");
  const Item* const last = &rsp.items.back();
  for (Item& item : rsp.items) {
    AppendItem(std::move(item), want_cas, &item == last ? kLastEnd : kLineEnd, out);
  }
}

void AppendStats(const Response& rsp, OutBuffer* out) {
  for (const auto& [name, value] : rsp.stats) {
    out->Append("STAT ");
    out->Append(name);
    out->Append(" ");
    out->Append(value);
    out->Append(kLineEnd);
  }
  out->Append("END\r\n");
}

void AppendTextLine(absl::string_view prefix, absl::string_view text, OutBuffer* out) {
  out->Append(prefix);
  out->Append(text);
  out->Append(kLineEnd);
}

}  // namespace

void TextCodec::Compose(const ReplyContext& context, Response&& rsp, OutBuffer* out) {
  if (context.dialect == Dialect::kMeta) [[unlikely]] {
    return ComposeMeta(context, std::move(rsp), out);
  }
  // A request that wants no reply gets none, failures included, as in memcached. A rejection has
  // been through this already.
  if (context.noreply && rsp.status != Status::kRaw) return;
  switch (rsp.status) {
    case Status::kValues:
      return AppendItems(context, std::move(rsp), out);
    case Status::kStored:
      return out->Append("STORED\r\n");
    case Status::kNotStored:
      return out->Append("NOT_STORED\r\n");
    case Status::kExists:
      return out->Append("EXISTS\r\n");
    case Status::kNotFound:
      return out->Append("NOT_FOUND\r\n");
    case Status::kDeleted:
      return out->Append("DELETED\r\n");
    case Status::kTouched:
      return out->Append("TOUCHED\r\n");
    case Status::kOk:
      return out->Append("OK\r\n");
    case Status::kNumber:
      out->AppendNumber(rsp.number);
      return out->Append(kLineEnd);
    case Status::kVersion:
      return AppendTextLine("VERSION ", rsp.text, out);
    case Status::kStats:
      return AppendStats(rsp, out);
    case Status::kReset:
      return out->Append("RESET\r\n");
    case Status::kTooLarge:
      return out->Append("SERVER_ERROR object too large for cache\r\n");
    case Status::kOutOfMemory:
      return out->Append("SERVER_ERROR out of memory storing object\r\n");
    case Status::kNonNumeric:
      return out->Append("CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
    case Status::kError:
    case Status::kDebug:  // Of meta commands alone.
      return out->Append("ERROR\r\n");
    case Status::kClientError:
      return AppendTextLine("CLIENT_ERROR ", rsp.text, out);
    case Status::kServerError:
      return AppendTextLine("SERVER_ERROR ", rsp.text, out);
    case Status::kRaw:
      return out->Append(rsp.text);
  }
}

}  // namespace proto::memcache
