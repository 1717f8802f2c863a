// Finds where a line ends when its bytes arrive in any pieces, looking at each byte once.
//
// A codec keeps one per connection. Every Find() must see the same line from its first byte, plus
// whatever has arrived since; Reset() (or a Find() that succeeds) starts the next line.
#pragma once

#include <cstring>

#include "absl/strings/string_view.h"

namespace core {

class LineScanner {
 public:
  // Bytes of the first line of `in`, its '\n' included; 0 = the end is not there yet.
  size_t Find(absl::string_view in) {
    const size_t from = scanned_ < in.size() ? scanned_ : in.size();
    const void* at =
        from == in.size() ? nullptr : std::memchr(in.data() + from, '\n', in.size() - from);
    if (at == nullptr) {
      scanned_ = in.size();
      return 0;
    }
    scanned_ = 0;
    return static_cast<const char*>(at) - in.data() + 1;
  }
  void Reset() { scanned_ = 0; }
  // Whether the next Find() sees a line for the first time.
  bool fresh() const { return scanned_ == 0; }

 private:
  size_t scanned_ = 0;
};

}  // namespace core
