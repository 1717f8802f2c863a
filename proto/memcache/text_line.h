// What the parsers of command lines share: words, and the answers to lines that are wrong.
#pragma once

#include <cstring>

#include "absl/strings/string_view.h"
#include "core/net/codec.h"
#include "proto/memcache/request.h"

namespace proto::memcache {

inline constexpr absl::string_view kErrorLine = "ERROR\r\n";
inline constexpr absl::string_view kBadFormatLine = "CLIENT_ERROR bad command line format\r\n";

// Takes the next word off `rest`; empty = there are no more. Only spaces separate words.
inline absl::string_view NextWord(absl::string_view* rest) {
  size_t from = 0;
  while (from < rest->size() && (*rest)[from] == ' ') ++from;
  rest->remove_prefix(from);
  const void* space = rest->empty() ? nullptr : std::memchr(rest->data(), ' ', rest->size());
  const size_t n = space == nullptr ? rest->size() : static_cast<const char*>(space) - rest->data();
  const absl::string_view word = rest->substr(0, n);
  rest->remove_prefix(n);
  return word;
}

inline core::ParseResult Complete(size_t consumed) {
  return {core::ParseStatus::kComplete, consumed};
}

// A refused line. Said aloud unless the line asked for no reply; to a meta command always.
inline core::ParseResult Reject(absl::string_view reply, size_t consumed, Request* req) {
  const bool silent = req->noreply && req->dialect == Dialect::kText;
  req->rejection = silent ? absl::string_view() : reply;
  return {core::ParseStatus::kInvalid, consumed};
}

}  // namespace proto::memcache
