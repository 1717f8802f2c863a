// Immutable bytes that know who keeps them alive: a string of their own, or a pin on somebody
// else's memory (a cache segment, a received frame) that is let go with them.
#pragma once

#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace core {

// Few words, so that a hit on its way from an engine to the wire is cheap to hand on. Bytes of its
// own cost an allocation beside the string's: answers made for one request rather pin or borrow.
class Bytes {
 public:
  using Release = void (*)(void* owner);

  Bytes() = default;
  explicit Bytes(std::string own) {
    auto* kept = new std::string(std::move(own));
    data_ = kept->data();
    size_ = kept->size();
    owner_ = kept;
    release_ = [](void* owner) { delete static_cast<std::string*>(owner); };
  }
  // Borrowed or pinned: `view` stays valid until `release(owner)` is called, once, by the
  // destructor. A null `release` borrows: the caller keeps `view` alive longer than this object.
  static Bytes Pinned(absl::string_view view, void* owner, Release release) {
    Bytes b;
    if (view.data() != nullptr) b.data_ = view.data();
    b.size_ = view.size();
    b.owner_ = owner;
    b.release_ = release;
    return b;
  }
  static Bytes Borrowed(absl::string_view view) { return Pinned(view, nullptr, nullptr); }
  // Says that what is pinned is scarce, so that the pin must go as soon as its bytes can be sent or,
  // if they cannot, copied: it must not wait for a peer.
  Bytes Briefly() && {
    brief_ = release_ != nullptr;
    return std::move(*this);
  }

  Bytes(Bytes&& other) noexcept
      : data_(other.data_),
        size_(std::exchange(other.size_, 0)),
        owner_(other.owner_),
        release_(std::exchange(other.release_, nullptr)),
        brief_(std::exchange(other.brief_, false)) {}
  Bytes& operator=(Bytes&& other) noexcept {
    if (this != &other) {
      if (release_ != nullptr) release_(owner_);
      data_ = other.data_;
      size_ = std::exchange(other.size_, 0);
      owner_ = other.owner_;
      release_ = std::exchange(other.release_, nullptr);
      brief_ = std::exchange(other.brief_, false);
    }
    return *this;
  }
  ~Bytes() {
    if (release_ != nullptr) release_(owner_);
  }

  // Its data() is never null: memcpy may be given it even when there is nothing.
  absl::string_view view() const { return {data_, size_}; }
  size_t size() const { return size_; }
  bool borrowed() const { return release_ == nullptr; }
  bool brief() const { return brief_; }

 private:
  const char* data_ = "";
  size_t size_ = 0;
  void* owner_ = nullptr;
  Release release_ = nullptr;
  bool brief_ = false;
};

}  // namespace core
