// See core_dump.h.
#include "core/process/core_dump.h"

#include <sys/prctl.h>

#include "core/base/check.h"

namespace core {

void ForbidCoreDumps() { CHECK(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0); }

}  // namespace core
