// Commands that steer what a memcached is made of: slab classes, the LRU and its crawler, the limit on
// memory, the end of the process. There is nothing here for them to steer, so each is told so in the
// words with which memcached refuses it when it runs without that part (-o no_slab_reassign,
// no_lru_crawler, no_lru_maintainer; no -A), and mistakes in the line in memcached's words for those.
// The connection stays. Probed on 1.6.18; integration/transcripts/admin.mc holds the proof.
#pragma once

#include "absl/strings/string_view.h"

namespace proto::memcache {

// What a line is answered, line end included, whose first word is `word` and has `rest` after it; empty
// = the line asked for silence. "ERROR" for what is no such command.
absl::string_view AnswerToAdmin(absl::string_view word, absl::string_view rest);

}  // namespace proto::memcache
