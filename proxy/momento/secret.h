// A text that is wiped when it is let go: API keys, for as long as they are ours.
//
// What this covers: the copies the client itself keeps. What it cannot reach: the environment and
// the command line of the process, the buffers of libnghttp2 and OpenSSL through which a key leaves
// for the service. Those are why momento_proxy leaves no core file either (core/process/core_dump.h).
#pragma once

#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace proxy::momento {

class Secret {
 public:
  Secret() = default;
  explicit Secret(absl::string_view text) : text_(text.data(), text.size()) {}
  Secret(const Secret& other) = default;
  Secret(Secret&& other) noexcept {
    text_.swap(other.text_);
    other.Wipe();
  }
  Secret& operator=(Secret other) noexcept {
    text_.swap(other.text_);
    return *this;
  }
  ~Secret() { Wipe(); }

  bool empty() const { return text_.empty(); }
  // Valid until the secret is assigned to or destroyed.
  absl::string_view view() const { return text_; }

  friend bool operator==(const Secret& a, const Secret& b) { return a.text_ == b.text_; }
  friend bool operator==(const Secret& a, absl::string_view b) { return a.view() == b; }

 private:
  // All of the string's memory: a short text that was moved is still in it.
  void Wipe() noexcept { ::explicit_bzero(text_.data(), text_.capacity()); }

  std::string text_;
};

}  // namespace proxy::momento
