// Numbers for identifiers. See recorded.h.
#include "tools/trace/recorded.h"

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "tools/trace/reader.h"

namespace trace {

absl::StatusOr<Recorded> Recorded::Read(const std::string& path) {
  ASSIGN_OR_RETURN(Reader reader, Reader::Open(path));
  Recorded all;
  absl::flat_hash_map<std::string, uint32_t> numbers;
  Request request;
  int64_t second = 0;
  while (reader.Next(&request)) {
    const auto [at, is_new] = numbers.try_emplace(request.key, all.keys());
    if (is_new) {
      absl::StrAppend(&all.text, request.key);
      all.ends.push_back(all.text.size());
    }
    // Times of a trace that was merged from several sources may step back a little.
    second = std::max(second, request.second);
    all.requests.push_back({second, request.ttl_sec, at->second,
                            static_cast<int32_t>(request.value_bytes),
                            static_cast<uint8_t>(std::clamp(request.key_bytes, 1u, kKeyBytesMax)),
                            request.op});
  }
  RETURN_IF_ERROR(reader.status());
  all.lines_skipped = reader.lines_skipped();
  return all;
}

}  // namespace trace
