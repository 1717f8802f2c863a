// A cache that outlives its process: where it lives, what is said of it at the start, and its saving
// at the end.
#pragma once

#include <cstdint>
#include <string>

#include "cache/seg/cache.h"
#include "config/seg.h"
#include "core/process/process.h"

namespace cache {

// Where a cache of `options` lives in a process with that many workers.
seg::Lodging LodgingFor(const config::MainSeg& options, int workers);

// What a process of ours takes besides the cache, in resident bytes: code and libraries, heaps of
// malloc, stacks, scratch memory of the workers and the buffers of their rings, buffers of some
// hundred connections. Measured, see cache/seg/README.md.
inline constexpr uint64_t kProcessBytes = 5120 << 10;
inline constexpr uint64_t kWorkerBytes = 512 << 10;

// Saves `engine` when it dies, if the engine lives in a file. Lives shorter than the engine and longer
// than everything else that uses it, also when the start fails: what the file held is still worth
// something. A further signal to stop ends the saving, and the cache is lost.
class WarmRestart {
 public:
  // Says in the log what became of the file. All are borrowed.
  WarmRestart(const config::MainSeg& options, seg::Cache* engine, core::Process* process);
  ~WarmRestart();
  WarmRestart(const WarmRestart&) = delete;
  WarmRestart& operator=(const WarmRestart&) = delete;

  bool enabled() const { return !file_.empty(); }
  // How long until a flush that was pending when the cache was saved; -1: none was. 0: it is due.
  int64_t flush_in_ms() const;
  // Tells the next process of a pending flush. `flush_in_ms` as above.
  void set_flush_in_ms(int64_t flush_in_ms) { note_ = flush_in_ms; }
  // The admin command that stops the process and keeps the cache.
  core::AdminHooks::TextCommand SaveCommand();

 private:
  const std::string file_;
  seg::Cache* const engine_;
  core::Process* const process_;
  int64_t note_ = -1;
};

}  // namespace cache
