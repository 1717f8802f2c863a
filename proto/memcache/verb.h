// The words that clients say. The codec keeps the verb of a request so that the reply is spelled in
// the same dialect; counters are labelled with it.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace proto::memcache {

enum class Verb : uint8_t {
  kNone,  // A line that was no command.
  kGet,
  kGets,
  kGat,
  kGats,
  kSet,
  kAdd,
  kReplace,
  kAppend,
  kPrepend,
  kCas,
  kDelete,
  kIncr,
  kDecr,
  kTouch,
  kFlushAll,
  kVersion,
  kVerbosity,
  kStats,
  kQuit,
  kWatch,
  kMetaGet,
  kMetaSet,
  kMetaDelete,
  kMetaArithmetic,
  kMetaNoop,
  kMetaDebug,
};

inline constexpr int kVerbs = static_cast<int>(Verb::kMetaDebug) + 1;

// The verb as clients spell it; "none" for kNone. Fit for a metric label.
constexpr absl::string_view VerbName(Verb verb) {
  constexpr absl::string_view kNames[kVerbs] = {
      "none",    "get",       "gets",    "gat",       "gats",   "set",  "add",
      "replace", "append",    "prepend", "cas",       "delete", "incr", "decr",
      "touch",   "flush_all", "version", "verbosity", "stats",  "quit", "watch",
      "mg",      "ms",        "md",      "ma",        "mn",     "me"};
  return kNames[static_cast<int>(verb)];
}

}  // namespace proto::memcache
