// Which authorizations are accepted: the one of the configuration and those of a file, so that tests
// of key rotation can let a token in and take it away while calls run.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/mutex.h"

namespace cache::local {

// Any thread, but for Read().
class Tokens {
 public:
  // `file` may be empty. With neither, any authorization will do.
  Tokens(std::string token, std::string file);

  bool required() const { return !token_.empty() || !file_.empty(); }
  bool Accept(absl::string_view given) const;

  // Reads the file again, a token a line. Fails, and changes nothing, when it cannot be read. One
  // thread.
  absl::Status Read();

 private:
  const std::string token_;
  const std::string file_;
  mutable core::Mutex mu_;
  std::vector<std::string> from_file_ ABSL_GUARDED_BY(mu_);
};

}  // namespace cache::local
