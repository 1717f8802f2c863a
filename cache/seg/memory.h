// The memory of one cache: the buckets of the table, the segments, and what the table grows into.
//
// Anonymous and the items limited:      [ buckets ][ segments ][ addresses for overflow buckets ]
// Anonymous and everything limited:     [ buckets ][ segments, overflow buckets at their end ]
// In a file: the second, with more around it; see restart_file.h.
//
// There are more segments than memory to fill them, if the heap gives back what it leaves empty of
// them (segment_heap.h). The surplus is addresses.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cache/seg/hash_table.h"
#include "cache/seg/mapping.h"
#include "cache/seg/plan.h"
#include "cache/seg/restart_file.h"

namespace seg {

class Memory {
 public:
  // Anonymous if `file` is empty, else as RestartFile::Open() says.
  static absl::StatusOr<Memory> Create(const Plan& plan, const PageWishes& wishes,
                                       const std::string& file);

  // The file, or null.
  RestartFile* file() const { return file_.get(); }
  // Where the table lies, and the plan with where the segments lie.
  HashTable::Memory ForTable() const;
  HeapPlan ForHeap() const;

 private:
  explicit Memory(const Plan& plan) : plan_(plan) {}
  absl::Status MapAnonymous();
  absl::Status Wish(const PageWishes& wishes);
  char* table() const { return file_ != nullptr ? file_->table() : mapping_.data(); }
  char* heap() const { return table() + plan_.table_bytes(); }

  Plan plan_;
  std::unique_ptr<RestartFile> file_;
  Mapping mapping_;  // Without a file.
  std::unique_ptr<Pages> pages_;  // Of the heap, if it gives back any. Without a file.
};

}  // namespace seg
