// What the exit code of a daemon says, in the numbers of sysexits.h.
#pragma once

#include "absl/status/status.h"

namespace core {

// 0 for OK, else:
//   64 EX_USAGE        out of range          the command line
//   66 EX_NOINPUT      not found             a file that was named is not there
//   69 EX_UNAVAILABLE  unavailable, deadline a port that is taken, a service that does not answer
//   70 EX_SOFTWARE     internal and the rest
//   71 EX_OSERR        resource exhausted    threads, descriptors, memory
//   77 EX_NOPERM       unauthenticated, permission denied: credentials, a file's mode
//   78 EX_CONFIG       invalid argument, failed precondition: configuration
int ExitCode(const absl::Status& status);

}  // namespace core
