// Immutable bytes that know who keeps them alive: a string of their own, or a pin on somebody
// else's memory (a cache segment, a received frame) that is let go with them.
#pragma once

#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace core {

class Bytes {
 public:
  using Release = void (*)(void* owner);

  Bytes() = default;
  explicit Bytes(std::string own) : own_(std::move(own)) {}
  // Borrowed or pinned: `view` stays valid until `release(owner)` is called, once, by the
  // destructor. A null `release` borrows: the caller keeps `view` alive longer than this object.
  static Bytes Pinned(absl::string_view view, void* owner, Release release) {
    Bytes b;
    b.pinned_ = view;
    b.is_pinned_ = true;
    b.owner_ = owner;
    b.release_ = release;
    return b;
  }
  static Bytes Borrowed(absl::string_view view) { return Pinned(view, nullptr, nullptr); }

  Bytes(Bytes&& other) noexcept { *this = std::move(other); }
  Bytes& operator=(Bytes&& other) noexcept {
    if (this != &other) {
      Drop();
      own_ = std::move(other.own_);
      pinned_ = other.pinned_;
      is_pinned_ = std::exchange(other.is_pinned_, false);
      owner_ = other.owner_;
      release_ = std::exchange(other.release_, nullptr);
    }
    return *this;
  }
  ~Bytes() { Drop(); }

  absl::string_view view() const { return is_pinned_ ? pinned_ : absl::string_view(own_); }
  size_t size() const { return view().size(); }
  bool borrowed() const { return is_pinned_ && release_ == nullptr; }

 private:
  void Drop() {
    if (release_ != nullptr) std::exchange(release_, nullptr)(owner_);
    is_pinned_ = false;
  }

  std::string own_;
  absl::string_view pinned_;
  bool is_pinned_ = false;
  void* owner_ = nullptr;
  Release release_ = nullptr;
};

}  // namespace core
