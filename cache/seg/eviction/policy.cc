// The one place that knows every policy.
#include "cache/seg/eviction/policy.h"

#include "cache/seg/eviction/best_of.h"
#include "cache/seg/eviction/fifo.h"
#include "cache/seg/eviction/merge.h"
#include "cache/seg/eviction/none.h"
#include "cache/seg/eviction/s3fifo.h"

namespace seg {

std::unique_ptr<EvictionPolicy> EvictionPolicy::Create(config::Seg::Eviction choice,
                                                       const Segment* segments, uint32_t count,
                                                       uint32_t full) {
  switch (choice) {
    case config::Seg::Eviction::kNone:
      break;
    case config::Seg::Eviction::kRandom:
      return std::make_unique<RandomEviction>(segments, count);
    case config::Seg::Eviction::kFifo:
      return std::make_unique<FifoEviction>(count);
    case config::Seg::Eviction::kCte:
      return std::make_unique<CteEviction>(segments, count);
    case config::Seg::Eviction::kUtil:
      return std::make_unique<UtilEviction>(segments, count);
    case config::Seg::Eviction::kMerge:
      return std::make_unique<MergeEviction>(count);
    case config::Seg::Eviction::kS3Fifo:
      return std::make_unique<S3FifoEviction>(segments, count, full);
  }
  return std::make_unique<NoEviction>();
}

}  // namespace seg
