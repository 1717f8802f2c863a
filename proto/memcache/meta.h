// memcached's meta commands, which share connections with the classic ones: how their lines are read
// and answered. text_codec.h finds the lines, and reads what follows those of ms.
//
//   mn                        ->  MN
//   mg <key> <flag>*          ->  VA <bytes> <flag>*\r\n<value>   HD <flag>*   EN
//   ms <key> <bytes> <flag>*\r\n<value>   ->  HD NS EX NF <flag>*
//   md <key> <flag>*          ->  HD NF EX <flag>*
//   ma <key> <flag>*          ->  HD NF NS EX <flag>*   VA <bytes> <flag>*\r\n<number>
//   me <key> [b]              ->  ME <key> <name>=<value>*   EN
//
// A flag is a letter, some with a word right behind it. Those that ask for something are answered in
// their order, W X Z after them. Any flag of any command is taken by all of them (request.h says what
// each asks for); one that asks for nothing here is passed over.
//
// What is refused, in which order and words, was probed on memcached 1.6.18, of whose answers
// integration/transcripts/meta_*.mc are the proof; flags that it does not know, E and x, follow
// doc/protocol.txt of 1.6.45.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "core/net/out_buffer.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"

namespace proto::memcache {

// Flags that replies return. A request keeps a list of them in `opaque`, and so does its ReplyContext:
// four bits for each, 1 and its place here, the first of the list lowest.
inline constexpr absl::string_view kReturnFlags = "kOstcflh";
inline constexpr int kReturnFlagBits = 4;
static_assert(kReturnFlags.size() * kReturnFlagBits <= 32);

// What is on a line of a meta command, after its verb.
struct MetaLine {
  absl::string_view refusal;  // The answer to a line that is wrong; empty if nothing is.
  bool has_block = false;     // Of ms: `block_bytes` of value follow, even if the flags are wrong.
  uint32_t block_bytes = 0;
};

// Reads `rest`, what follows the verb on the line, into *req, whose verb is set and which is fresh.
// Views of `rest` go into *req.
MetaLine ParseMetaLine(absl::string_view rest, Request* req);

// What the reply to `req` repeats, for ReplyContext::echo; null if nothing. REQUIRES: req.dialect is
// kMeta.
MetaEcho* EchoOf(const Request& req);

// Appends the reply to *out, or nothing if the request wanted none. REQUIRES: `context` is that of a
// meta command.
void ComposeMeta(const ReplyContext& context, Response&& rsp, core::OutBuffer* out);

}  // namespace proto::memcache
