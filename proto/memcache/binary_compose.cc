// The writing half of the binary codec.
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/memcache/binary_codec.h"
#include "proto/memcache/klog.h"

namespace proto::memcache {

using binary::Code;
using binary::Opcode;
using binary::ReplyHeader;
using core::OutBuffer;

namespace binary {

absl::string_view TextOf(Code code) {
  switch (code) {
    case Code::kOk:
    case Code::kAuthContinue: return "";
    case Code::kNotFound: return "Not found";
    case Code::kExists: return "Data exists for key.";
    case Code::kTooLarge: return "Too large.";
    case Code::kInvalid: return "Invalid arguments";
    case Code::kNotStored: return "Not stored.";
    case Code::kNonNumeric: return "Non-numeric server-side value for incr or decr";
    case Code::kAuthError: return "Auth failure.";
    case Code::kUnknownCommand: return "Unknown command";
    case Code::kNoMemory: return "Out of memory";
    case Code::kInternal: return "Internal error";
    case Code::kTemporary: return "Temporary failure";
  }
  return "";
}

}  // namespace binary

namespace {

constexpr size_t kFlagsBytes = 4;
// Values up to this are written in one go with their header.
constexpr size_t kWholeValueMax = 1024;
static_assert(binary::kHeaderBytes + kFlagsBytes + kKeyBytesMax + kWholeValueMax <=
              OutBuffer::kReserveMax);

ReplyHeader HeaderFor(const ReplyContext& context, uint64_t cas = 0) {
  return {.opcode = context.opcode, .opaque = context.opaque, .cas = cas};
}

// A header and the text behind it. No service's text is long.
void AppendText(ReplyHeader header, absl::string_view text, OutBuffer* out) {
  header.value_bytes = static_cast<uint32_t>(text.size());
  header.WriteTo(out->Reserve(binary::kHeaderBytes));
  out->Commit(binary::kHeaderBytes);
  out->Append(text);
}

void AppendError(const ReplyContext& context, Code code, absl::string_view text, OutBuffer* out) {
  ReplyHeader header = HeaderFor(context);
  header.code = code;
  AppendText(header, text, out);
}

void AppendError(const ReplyContext& context, Code code, OutBuffer* out) {
  AppendError(context, code, binary::TextOf(code), out);
}

void AppendItem(const ReplyContext& context, Item&& item, OutBuffer* out) {
  ReplyHeader header = HeaderFor(context, item.cas);
  const absl::string_view key =
      item.key.substr(0, (context.want & kWantKey) != 0 ? kKeyBytesMax : 0);
  header.extras_bytes = kFlagsBytes;
  header.key_bytes = static_cast<uint16_t>(key.size());
  header.value_bytes = static_cast<uint32_t>(item.value.size());
  const bool whole = item.value.size() <= kWholeValueMax;
  const size_t head_bytes = binary::kHeaderBytes + kFlagsBytes + key.size();
  const size_t bytes = head_bytes + (whole ? item.value.size() : 0);
  char* const at = out->Reserve(bytes);
  header.WriteTo(at);
  binary::Write<uint32_t>(item.flags, at + binary::kHeaderBytes);
  std::memcpy(at + binary::kHeaderBytes + kFlagsBytes, key.data(), key.size());
  if (whole) std::memcpy(at + head_bytes, item.value.view().data(), item.value.size());
  out->Commit(bytes);
  if (!whole) out->Append(std::move(item.value));
}

// A get that found nothing: some are told the key, others in words, quiet ones nothing.
void AppendMiss(const ReplyContext& context, absl::string_view key, OutBuffer* out) {
  if (context.noreply) return;
  if ((context.want & kWantMissKey) == 0) return AppendError(context, Code::kNotFound, out);
  ReplyHeader header = HeaderFor(context);
  header.code = Code::kNotFound;
  header.key_bytes = static_cast<uint16_t>(key.size());
  header.WriteTo(out->Reserve(binary::kHeaderBytes));
  out->Commit(binary::kHeaderBytes);
  out->Append(key);
}

void AppendCount(const ReplyContext& context, const Response& rsp, OutBuffer* out) {
  char number[sizeof rsp.number];
  binary::Write<uint64_t>(rsp.number, number);
  AppendText(HeaderFor(context, rsp.cas), {number, sizeof number}, out);
}

// The touched item's flags, as a get would tell them, without its value.
void AppendTouched(const ReplyContext& context, const Response& rsp, OutBuffer* out) {
  ReplyHeader header = HeaderFor(context, rsp.cas);
  header.extras_bytes = kFlagsBytes;
  char* const at = out->Reserve(binary::kHeaderBytes + kFlagsBytes);
  header.WriteTo(at);
  binary::Write<uint32_t>(rsp.flags, at + binary::kHeaderBytes);
  out->Commit(binary::kHeaderBytes + kFlagsBytes);
}

// A packet a number, and an empty one.
void AppendStats(const ReplyContext& context, const Response& rsp, OutBuffer* out) {
  for (const auto& [name, value] : rsp.stats) {
    ReplyHeader header = HeaderFor(context);
    header.key_bytes = static_cast<uint16_t>(name.size());
    header.value_bytes = static_cast<uint32_t>(value.size());
    header.WriteTo(out->Reserve(binary::kHeaderBytes));
    out->Commit(binary::kHeaderBytes);
    out->Append(name);
    out->Append(value);
  }
  AppendText(HeaderFor(context), {}, out);
}

bool Is(const ReplyContext& context, Opcode loud, Opcode quiet) {
  return context.opcode == static_cast<uint8_t>(loud) ||
         context.opcode == static_cast<uint8_t>(quiet);
}

// What was not stored, in the words memcached has for the opcode.
Code NotStored(const ReplyContext& context) {
  if (Is(context, Opcode::kAdd, Opcode::kAddQ)) return Code::kExists;
  if (Is(context, Opcode::kReplace, Opcode::kReplaceQ)) return Code::kNotFound;
  return Code::kNotStored;
}

// With a token or without, what is not there cannot be extended.
Code NotFound(const ReplyContext& context) {
  const bool extends = Is(context, Opcode::kAppend, Opcode::kAppendQ) ||
                       Is(context, Opcode::kPrepend, Opcode::kPrependQ);
  return extends ? Code::kNotStored : Code::kNotFound;
}

void AppendFailure(const ReplyContext& context, const Response& rsp, OutBuffer* out) {
  const bool late = absl::StartsWith(rsp.text, kTimeoutText);
  AppendError(context, late ? Code::kTemporary : Code::kInternal, rsp.text, out);
}

}  // namespace

void BinaryCodec::Compose(const ReplyContext& context, Response&& rsp, OutBuffer* out) {
  switch (rsp.status) {
    case Status::kValues:
      if (rsp.items.empty()) return AppendMiss(context, rsp.text, out);
      return AppendItem(context, std::move(rsp.items[0]), out);
    case Status::kStored:
    case Status::kDeleted:
    case Status::kOk:
      if (context.noreply) return;
      return AppendText(HeaderFor(context, rsp.cas), {}, out);
    case Status::kTouched:
      return AppendTouched(context, rsp, out);
    case Status::kNumber:
      if (context.noreply) return;
      return AppendCount(context, rsp, out);
    case Status::kVersion:
      return AppendText(HeaderFor(context), rsp.text, out);
    case Status::kStats:
    case Status::kReset:
      return AppendStats(context, rsp, out);
    case Status::kNotStored:
      return AppendError(context, NotStored(context), out);
    case Status::kExists:
      return AppendError(context, Code::kExists, out);
    case Status::kNotFound:
      return AppendError(context, NotFound(context), out);
    case Status::kTooLarge:
      return AppendError(context, Code::kTooLarge, out);
    case Status::kOutOfMemory:
      return AppendError(context, Code::kNoMemory, "Out of memory allocating item", out);
    case Status::kNonNumeric:
      return AppendError(context, Code::kNonNumeric, out);
    case Status::kError:  // Of words that STAT does not know.
    case Status::kDebug:  // Never asked for.
      return AppendError(context, Code::kNotFound, out);
    case Status::kClientError:
      if (Is(context, Opcode::kFlush, Opcode::kFlushQ)) {  // Not allowed to.
        return AppendError(context, Code::kAuthError, out);
      }
      if (context.opcode == static_cast<uint8_t>(Opcode::kStat)) {
        return AppendError(context, Code::kNotFound, out);
      }
      return AppendError(context, Code::kInvalid, rsp.text, out);
    case Status::kServerError:
      return AppendFailure(context, rsp, out);
    case Status::kRaw:  // A dump of "stats detail"; rejections are spelled by the parser.
      rsp.stats.emplace_back("detailed", std::move(rsp.text));
      return AppendStats(context, rsp, out);
  }
}

}  // namespace proto::memcache
