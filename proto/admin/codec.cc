// Lines of words for the admin port. See codec.h.
#include "proto/admin/codec.h"

namespace proto::admin {

using core::ParseResult;
using core::ParseStatus;

namespace {

void TrimSpaces(absl::string_view* text) {
  while (!text->empty() && text->front() == ' ') text->remove_prefix(1);
  while (!text->empty() && text->back() == ' ') text->remove_suffix(1);
}

}  // namespace

ParseResult Codec::Parse(absl::string_view in, Request* req) {
  const size_t line_bytes = line_.Find(in.substr(0, kLineBytesMax));
  if (line_bytes == 0) {
    if (in.size() < kLineBytesMax) return {ParseStatus::kNeedMore};
    return {ParseStatus::kInvalid, in.size(), 0, true};
  }
  absl::string_view line = in.substr(0, line_bytes - 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  TrimSpaces(&line);
  const absl::string_view word = line.substr(0, line.find(' '));
  absl::string_view rest = line.substr(word.size());
  TrimSpaces(&rest);
  *req = Request();
  if (word == "quit") return {ParseStatus::kQuit, line_bytes};
  if (word == "stats") {
    req->argument = rest;
    return {ParseStatus::kComplete, line_bytes};
  }
  if (word == "version") {
    req->command = Command::kVersion;
    return {ParseStatus::kComplete, line_bytes};
  }
  return {ParseStatus::kInvalid, line_bytes};
}

void Codec::Compose(const ReplyContext& context, Response&& rsp, core::OutBuffer* out) {
  switch (rsp.status) {
    case Response::Status::kStats:
      for (const auto& [name, value] : rsp.stats) {
        out->Append("STAT ");
        out->Append(name);
        out->Append(" ");
        out->Append(value);
        out->Append("\r\n");
      }
      return out->Append("END\r\n");
    case Response::Status::kVersion:
      out->Append("VERSION ");
      out->Append(rsp.text);
      return out->Append("\r\n");
    case Response::Status::kText:
      return out->Append(rsp.text);
    case Response::Status::kError:
      return out->Append("ERROR\r\n");
  }
}

}  // namespace proto::admin
