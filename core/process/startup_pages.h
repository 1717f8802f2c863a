// Gives back the memory of start-up.
//
// Linking a hundred libraries and reading a configuration touches pages of code and constants that
// serving never needs again, 9 MB in segcache, which is more than a small cache; they would stay in
// the process's resident memory for as long as the machine has some to spare.
#pragma once

namespace core {

// Lets go of every page of the program's and its libraries' files that was only read. What is used
// again is mapped again by the kernel, from its page cache: a microsecond for each 64 KB. Without a
// readable /proc, nothing happens. To be called once, when start-up is over. Any thread.
void ReleaseStartupPages();

}  // namespace core
