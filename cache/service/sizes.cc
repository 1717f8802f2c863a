#include "cache/service/sizes.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"

namespace cache {
namespace {

constexpr uint64_t kBucketBytes = 32;  // memcached's, doc/protocol.txt, "Item sizes".

}  // namespace

std::string SizesText(seg::Cache* cache, uint64_t items_max) {
  const seg::Cache::Stats stats = cache->GetStats();
  // No more than leaves two segments to look at.
  const uint64_t most = std::max<uint64_t>(stats.segments / 2, 1);
  const uint64_t stride = std::clamp<uint64_t>(stats.items / items_max, 1, most);
  std::map<uint64_t, uint64_t> counts;  // Few: sizes of one application's items.
  cache->VisitSizes(static_cast<uint32_t>(stride), [&](size_t bytes) {
    ++counts[(bytes + kBucketBytes - 1) / kBucketBytes * kBucketBytes];
  });
  std::string text;
  if (stride > 1) absl::StrAppend(&text, "STAT sampled_one_in ", stride, "\n");
  for (const auto& [bytes, items] : counts) {
    absl::StrAppend(&text, "STAT ", bytes, " ", items * stride, "\n");
  }
  return text + "END\n";
}

}  // namespace cache
