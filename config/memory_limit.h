// How much memory this process may have: that of the machine, or less where a control group says so
// (a container, a systemd unit with MemoryMax).
#pragma once

#include <cstdint>
#include <string>

namespace config {

// The least of the machine's memory and of every limit from the process's group up to the root.
// `proc_cgroup` and `cgroups` are /proc/self/cgroup and /sys/fs/cgroup (cgroups(7), version 2); what
// cannot be read limits nothing.
uint64_t MemoryLimit(const std::string& proc_cgroup = "/proc/self/cgroup",
                     const std::string& cgroups = "/sys/fs/cgroup");

}  // namespace config
