// The file that holds a cache from one process to the next.
//
//   [ header: 4096 ][ buckets of the table ][ segments, overflow buckets at their end ]
//   [ fingerprints ][ a SegmentRecord for each segment ]
//
// The cache works in the file itself, mapped and shared: nothing is copied, neither to save it nor to
// start with it, and on tmpfs nothing is read or written either. (The index is kept rather than built
// from the items again: that would take a hash and a cache miss for each item, ten times as long as
// the checksum, and would lose the counts of use.) Only what is small lives outside and is written
// when the cache is saved: SegmentRecords and the numbers in the header.
//
// Where the heap gives back what it leaves empty of its segments (segment_pages.cc), the file has holes:
// it spans twice what it takes, but takes no more than was planned. What is written to is allocated
// before, so that a file system that others have filled makes the cache smaller and is not its end.
//
// The header says whether the file is whole. It says no from before the first item is served until
// everything has been written and summed up by Seal(); a process that dies in between leaves a file
// that nobody will use. A file is used only if its checksums say that every byte which matters is
// the one that was written, and if it was laid out for the same heap by the same version of this
// format. kVersion must grow with every change to what lies in the file: the header, SegmentRecord, a
// slot (hash_table.h), an item (item.h, marks.h), the bands of ttl_buckets.h.
//
// One process at a time: the file is locked for as long as this object lives.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "cache/seg/mapping.h"
#include "cache/seg/plan.h"
#include "core/base/fd.h"

namespace seg {

// What a cache knows besides its memory and its segments.
struct CacheState {
  HashTable::State table;
  SegmentHeap::State heap;
  int64_t now_ms = 0;   // On the cache's own clock.
  int64_t wall_ms = 0;  // At the same moment, since the Unix epoch.
  int64_t note = 0;
};

class RestartFile {
 public:
  static constexpr uint32_t kVersion = 4;
  static constexpr size_t kHeaderBytes = 4096;

  // Opens or creates `path`, locks it, looks what is in it, makes it as large as `plan` needs, maps
  // it, and marks it as not whole. An error, and an untouched file, if it is not a regular file,
  // cannot be written, is locked by another process, or holds something that is not ours; and if
  // there is no room for what the plan says it takes.
  static absl::StatusOr<std::unique_ptr<RestartFile>> Open(const std::string& path,
                                                           const Plan& plan);

  // Whether a whole cache was found; its state, else zeros. Why not, if the file was not empty.
  bool restored() const { return restored_; }
  const CacheState& state() const { return state_; }
  const std::string& refusal() const { return refusal_; }
  // The content turns out to be of no use: as if it had not been there.
  absl::Status Refuse(std::string why);

  // Memory in the file: what was found, else zeroed.
  char* data() const { return mapping_.data(); }
  char* table() const { return mapping_.data() + kHeaderBytes; }
  char* heap() const { return table() + plan_.table_bytes(); }
  char* ghosts() const { return heap() + plan_.heap_span_bytes(); }
  SegmentRecord* records() const {
    return reinterpret_cast<SegmentRecord*>(ghosts() + plan_.ghost_bytes());
  }

  // The plan, without a surplus of segments if the file system has no holes. And the pages of the
  // heap; null without a surplus.
  const Plan& plan() const { return plan_; }
  Pages* heap_pages() const { return heap_pages_.get(); }
  // The stretches of the file that are allocated, as it was found or begun: one after the other.
  void VisitAllocated(absl::FunctionRef<void(uint64_t from, uint64_t bytes)> visit) const;

  // Sums up and marks the file as whole. records() have been written. CANCELLED if `cancelled` says
  // so: the file stays as it is, not whole.
  absl::Status Seal(const CacheState& state, absl::FunctionRef<bool()> cancelled);

 private:
  struct Header;

  RestartFile(std::string path, const Plan& plan, core::Fd fd);

  // Why the content cannot be used; empty if it can.
  absl::StatusOr<std::string> Judge(uint64_t bytes);
  std::string JudgeContent(const Header& header);
  absl::Status BeginAnew();
  // Looks whether the file system has holes.
  void TryHoles(uint64_t file_bytes);
  // Makes the file take what it shall. Returns 0 or an errno.
  int Allocate();
  // A file that was found may be a copy, with more holes or without.
  absl::Status AllocateFound(uint64_t allocated_bytes);
  absl::Status WriteHeader(Header header);
  absl::Status Sync(char* from, size_t bytes);
  Header Describe() const;
  uint64_t bytes() const;
  std::vector<absl::string_view> Content(const CacheState& state) const;
  absl::Status Error(absl::StatusCode code, absl::string_view what) const;

  const std::string path_;
  Plan plan_;
  core::Fd fd_;
  std::unique_ptr<Pages> heap_pages_;
  Mapping mapping_;
  bool restored_ = false;
  CacheState state_;
  std::string refusal_;
};

}  // namespace seg
