// A file that names the process while it runs, for scripts that want to signal it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace core {

class PidFile {
 public:
  // Writes this process's id to `path`, in place of what is there. FAILED_PRECONDITION if it cannot.
  static absl::StatusOr<std::unique_ptr<PidFile>> Write(const std::string& path);
  // Removes the file, unless it names another process.
  ~PidFile();
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;

 private:
  explicit PidFile(const std::string& path) : path_(path) {}
  const std::string path_;
};

}  // namespace core
