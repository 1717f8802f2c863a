#include "cache/local/store.h"

#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/hash.h"
#include "core/base/status.h"

namespace cache::local {
namespace {

constexpr size_t kShortKeyBytesMax = seg::kKeyBytesMax - 1;
constexpr size_t kDigestBytes = 16;
constexpr size_t kPrefixBytes = seg::kKeyBytesMax - kDigestBytes;
constexpr size_t kLengthBytes = sizeof(uint32_t);
// Two fixed seeds, so that the hash a client sees says nothing about where a key lies.
constexpr uint64_t kValueSeed = 0x6d6f6d656e746f31;
constexpr uint64_t kKeySeed = 0x6d6f6d656e746f32;

std::array<char, kDigestBytes> Digest(absl::string_view bytes, uint64_t seed) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed));
  std::array<char, kDigestBytes> out;
  static_assert(sizeof(canonical.digest) == kDigestBytes);
  std::memcpy(out.data(), canonical.digest, kDigestBytes);
  return out;
}

bool IsLong(absl::string_view key) { return key.size() > kShortKeyBytesMax; }

// The key under which the engine keeps an item. A view of the caller's key where that will do.
class EngineKey {
 public:
  explicit EngineKey(absl::string_view key) : view_(key) {
    if (!IsLong(key)) return;
    std::memcpy(long_.data(), key.data(), kPrefixBytes);
    const auto digest = Digest(key, kKeySeed);
    std::memcpy(long_.data() + kPrefixBytes, digest.data(), kDigestBytes);
    view_ = absl::string_view(long_.data(), long_.size());
  }
  EngineKey(const EngineKey&) = delete;
  EngineKey& operator=(const EngineKey&) = delete;
  absl::string_view view() const { return view_; }

 private:
  absl::string_view view_;
  std::array<char, seg::kKeyBytesMax> long_;
};

std::string Wrap(absl::string_view key, absl::string_view value) {
  const uint32_t length = static_cast<uint32_t>(key.size());
  char head[kLengthBytes];
  std::memcpy(head, &length, kLengthBytes);
  return absl::StrCat(absl::string_view(head, kLengthBytes), key, value);
}

// The value of `item` if it is `key`'s.
std::optional<absl::string_view> Unwrap(absl::string_view key, const seg::ItemRef& item) {
  if (!item.found()) return std::nullopt;
  absl::string_view stored = item.value();
  if (!IsLong(key)) return stored;
  uint32_t length = 0;
  std::memcpy(&length, stored.data(), kLengthBytes);
  stored.remove_prefix(kLengthBytes);
  if (length != key.size() || stored.substr(0, length) != key) return std::nullopt;
  return stored.substr(length);
}

// The whole of `text` as a signed decimal number.
bool ParseNumber(absl::string_view text, int64_t* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string HashOf(absl::string_view value) {
  const auto digest = Digest(value, kValueSeed);
  return std::string(digest.data(), digest.size());
}

bool Condition::Holds(std::optional<absl::string_view> found) const {
  if (!found) return if_absent;
  if (if_equal == if_different) return if_equal;
  const bool equal = against == Against::kHash ? HashOf(*found) == operand : *found == operand;
  return equal ? if_equal : if_different;
}

absl::StatusOr<std::unique_ptr<Store>> Store::Create(const config::Seg& options,
                                                     const core::Clock* clock,
                                                     absl::string_view name) {
  std::unique_ptr<Store> store(new Store);
  ASSIGN_OR_RETURN(store->cache_, seg::Cache::Create(options, clock, &store->registry_, name));
  return store;
}

Store::Found Store::Get(absl::string_view key) {
  Found found{.item = cache_->Get(EngineKey(key).view(), seg::Token::kQuiet), .value = {}};
  found.value = Unwrap(key, found.item);
  return found;
}

Store::Found Store::Peek(absl::string_view key) {
  Found found{.item = cache_->Peek(EngineKey(key).view(), seg::Token::kQuiet), .value = {}};
  found.value = Unwrap(key, found.item);
  return found;
}

seg::StoreResult Store::Set(absl::string_view key, absl::string_view value, int64_t ttl_ms) {
  const EngineKey engine_key(key);
  if (!IsLong(key)) return cache_->Set(engine_key.view(), value, 0, ttl_ms);
  return cache_->Set(engine_key.view(), Wrap(key, value), 0, ttl_ms);
}

seg::StoreResult Store::Apply(absl::string_view key, Decide decide) {
  seg::Update update;
  update.token = seg::Token::kQuiet;  // Conditions go by the value, or its hash.
  return cache_->Apply(
      EngineKey(key).view(),
      [&](const seg::ItemRef& item, seg::Update* out) {
        decide(Unwrap(key, item), item.ttl_ms(), out);
        if (out->action == seg::Update::Action::kStore && IsLong(key)) {
          out->value = Wrap(key, out->value);
        }
      },
      &update);
}

seg::StoreResult Store::SetIf(absl::string_view key, absl::string_view value, int64_t ttl_ms,
                              const Condition& condition) {
  return Apply(key, [&](std::optional<absl::string_view> found, int64_t, seg::Update* update) {
    if (!condition.Holds(found)) return;
    update->action = seg::Update::Action::kStore;
    update->value.assign(value.data(), value.size());
    update->ttl_ms = ttl_ms;
  });
}

Store::IncrementResult Store::Increment(absl::string_view key, int64_t amount, int64_t ttl_ms,
                                        int64_t* value) {
  IncrementResult result = IncrementResult::kDone;
  const seg::StoreResult stored =
      Apply(key, [&](std::optional<absl::string_view> found, int64_t, seg::Update* update) {
        // The engine may ask again after making room; every asking starts afresh.
        result = IncrementResult::kDone;
        int64_t number = 0;
        if (found && !ParseNumber(*found, &number)) {
          result = IncrementResult::kNotANumber;
        } else if (__builtin_add_overflow(number, amount, value)) {
          result = IncrementResult::kOverflow;
        } else {
          update->action = seg::Update::Action::kStore;
          update->value = absl::StrCat(*value);
          update->ttl_ms = ttl_ms;
        }
      });
  if (stored == seg::StoreResult::kTooLarge) return IncrementResult::kTooLarge;
  if (stored == seg::StoreResult::kNoMemory) return IncrementResult::kNoMemory;
  return result;
}

Store::TtlResult Store::UpdateTtl(absl::string_view key, int64_t ttl_ms, TtlRule rule) {
  TtlResult result = TtlResult::kMissing;
  Apply(key, [&](std::optional<absl::string_view> found, int64_t left_ms, seg::Update* update) {
    result = TtlResult::kMissing;
    if (!found) return;
    const bool change = rule == TtlRule::kOverwrite ||
                        (rule == TtlRule::kIncrease && ttl_ms > left_ms) ||
                        (rule == TtlRule::kDecrease && ttl_ms < left_ms);
    result = change ? TtlResult::kSet : TtlResult::kNotSet;
    if (!change) return;
    update->action = seg::Update::Action::kTouch;
    update->ttl_ms = ttl_ms;
  });
  return result;
}

void Store::Delete(absl::string_view key) {
  // Whatever lies under a long key's name may go: see the top of the header.
  cache_->Delete(EngineKey(key).view());
}

}  // namespace cache::local
