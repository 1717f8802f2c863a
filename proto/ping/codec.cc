// One line in, one line out. See codec.h.
#include "proto/ping/codec.h"

namespace proto::ping {

using core::ParseResult;
using core::ParseStatus;

ParseResult Codec::Parse(absl::string_view in, Request* req) {
  const size_t line_bytes = line_.Find(in.substr(0, kLineBytesMax));
  if (line_bytes == 0) {
    if (in.size() < kLineBytesMax) return {ParseStatus::kNeedMore};
    return {ParseStatus::kInvalid, in.size(), 0, true};
  }
  absl::string_view line = in.substr(0, line_bytes - 1);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line == "PING") return {ParseStatus::kComplete, line_bytes};
  if (line == "quit") return {ParseStatus::kQuit, line_bytes};
  return {ParseStatus::kInvalid, line_bytes};
}

void Codec::Compose(const ReplyContext& context, Response&& rsp, core::OutBuffer* out) {
  out->Append(rsp.status == Response::Status::kPong ? "PONG\r\n" : "ERROR\r\n");
}

}  // namespace proto::ping
