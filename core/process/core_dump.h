// Keeps the memory of a process that holds secrets out of files and other processes.
#pragma once

namespace core {

// From now on no signal leaves a core file of this process, whatever the limits and
// core_pattern say; and only root may trace it or read its /proc/PID/environ, mem and fd
// (prctl(2), PR_SET_DUMPABLE). Any thread, for all of them.
void ForbidCoreDumps();

}  // namespace core
