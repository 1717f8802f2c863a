// Where the server is, and connections to it.
#pragma once

#include <sys/socket.h>

#include "absl/status/statusor.h"
#include "core/base/fd.h"
#include "tools/load/options.h"

namespace tools::load {

class Endpoint {
 public:
  // Looks the host up, or takes the path. NOT_FOUND or INVALID_ARGUMENT.
  static absl::StatusOr<Endpoint> Resolve(const Options& options);

  // A connected, non-blocking socket; UNAVAILABLE if nobody listens.
  absl::StatusOr<core::Fd> Connect() const;

 private:
  struct sockaddr_storage address_ = {};
  socklen_t length_ = 0;
  std::string name_;  // For errors.
};

}  // namespace tools::load
