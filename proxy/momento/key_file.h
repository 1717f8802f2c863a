// Reads a key from a file the way Kubernetes mounts one: the name is a symbolic link that is swapped
// under the directory. So nothing of a previous look is kept, neither descriptor nor timestamps: the
// file is read whole each time, and what it holds says whether it changed.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "proxy/momento/secret.h"

namespace proxy::momento {

// The key in the file, without the blanks around it. NOT_FOUND, PERMISSION_DENIED, or
// INVALID_ARGUMENT for what is empty, too long to be a key or no regular file; the message names
// `knob` ("momento.api_key_file") and the file. Waits for the disk: not for workers.
absl::StatusOr<Secret> ReadKeyFile(const std::string& file, const std::string& knob);

}  // namespace proxy::momento
