// The one place that knows every policy.
#include "cache/seg/eviction/policy.h"

#include "cache/seg/eviction/fifo.h"
#include "cache/seg/eviction/none.h"

namespace seg {

std::unique_ptr<EvictionPolicy> EvictionPolicy::Create(config::Seg::Eviction choice,
                                                       uint32_t segments) {
  switch (choice) {
    case config::Seg::Eviction::kNone:
      break;
    case config::Seg::Eviction::kFifo:
      return std::make_unique<FifoEviction>(segments);
  }
  return std::make_unique<NoEviction>();
}

}  // namespace seg
