// A file that lines are appended to and that keeps its size: at max_size it is renamed to its backup
// (one generation, the one before is overwritten) and begun anew, between two lines.
//
// A reader that stopped reading (a full pipe, a stopped terminal) is waited for once, kPatienceMs;
// from then on writes that cannot be done at once fail until it reads again. Only regular files are
// rotated, and only while the name still means the file that is open: what somebody else moved
// there is left alone. When renaming fails, the file grows on and it is tried again after another
// max_size bytes.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/fd.h"

namespace core {

// One thread at a time.
class LogFile {
 public:
  struct Options {
    std::string knob;        // "log.file", for messages.
    std::string path;        // Empty: a duplicate of standard error.
    uint64_t max_bytes = 0;  // 0: never rotated.
    std::string backup;      // Empty: `path` with ".old" after it.
  };

  // A closed standard error is no failure: every write then fails.
  static absl::StatusOr<LogFile> Open(Options options);

  // Appends whole lines, `bytes` ending in a line break; they stay together in one file. False: not
  // all of it could be written. A line that was cut is ended before the next one.
  bool Write(absl::string_view bytes);
  // Opens the name again. On failure the old file stays in use.
  absl::Status Reopen();

  uint64_t rotations() const { return rotations_; }

 private:
  LogFile(Options options, Fd fd);
  void Adopt(Fd fd);
  bool IsNamed() const;
  void Rotate();
  bool WaitWritable();

  Options options_;
  Fd fd_;
  bool rotates_ = false;      // A regular file with a bound.
  uint64_t size_ = 0;         // Of the file, when it rotates.
  uint64_t rotate_above_ = 0;
  uint64_t rotations_ = 0;
  bool stuck_ = false;
  bool mid_line_ = false;  // A line was cut; end it before the next.
};

// For threads that write logs. Signals are the main thread's business; with SIGPIPE blocked, a dead
// pipe is EPIPE and no more.
void BlockSignals();

}  // namespace core
