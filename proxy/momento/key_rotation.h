// When an account takes another key, and when it does not: decisions without threads or sockets.
//
//   in use --file changed--> judged --parses, not expired--> asked of the service --accepted--> in use
//                               \__ malformed, expired: kept out for good        \__ refused: kept out,
//                                   (until the file changes again)                   asked again later
//
// A key that is kept out is logged once and counted once; the one in use goes on. What the service
// refused is asked again, since a new key may be known at one of its places before another; a
// service that did not answer is asked again sooner. A file that is gone or empty changes nothing.
// Also warns, once each, a week, a day and an hour before the key in use expires, and when it has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/log/log.h"
#include "proxy/momento/account.h"
#include "proxy/momento/credentials.h"

namespace proxy::momento {

// Asks the service whether it takes a key.
class KeyChecker {
 public:
  // OK; UNAVAILABLE or DEADLINE_EXCEEDED when there was no answer; anything else is a refusal and
  // its reason. Never from inside Check(). A second check calls the first one off, unanswered.
  using Verdict = absl::AnyInvocable<void(absl::Status)>;
  virtual void Check(const Credentials& candidate, Verdict done) = 0;
  virtual void CallOff() = 0;

 protected:
  ~KeyChecker() = default;
};

// One thread.
class KeyRotation {
 public:
  // Between two questions about one key: doubled each time, from the first to the last.
  static constexpr int64_t kRefusedFirstMs = 10'000;
  static constexpr int64_t kRefusedLastMs = 300'000;
  static constexpr int64_t kUnansweredFirstMs = 1'000;
  static constexpr int64_t kUnansweredLastMs = 60'000;

  using ReadFile = absl::AnyInvocable<absl::StatusOr<Secret>()>;
  // `key`: the text that the account's credentials were made from. Everything borrowed outlives the
  // rotation.
  KeyRotation(KeySource source, const Secret& key, ReadFile read_file, Account* account,
              KeyChecker* checker, KeyMetrics* metrics, const core::Clock* clock, core::Log* log);
  ~KeyRotation() { checker_->CallOff(); }
  KeyRotation(const KeyRotation&) = delete;
  KeyRotation& operator=(const KeyRotation&) = delete;

  // Looks at the file, the clock and what is to be asked again.
  void Look();

 private:
  void LookAtFile();
  void LookAtExpiry();
  // The file holds this, which it did not at the last look.
  void Judge(uint64_t digest, const Secret& key);
  void Ask();
  void OnVerdict(const absl::Status& verdict);
  void TakeIntoUse();
  void KeepOut(absl::string_view why);
  // What the file holds is the key in use, or nothing.
  void Settle();
  void Unreadable(absl::string_view why);
  uint64_t Digest(const Secret& key) const;

  const KeySource source_;
  ReadFile read_file_;
  Account* const account_;
  KeyChecker* const checker_;
  KeyMetrics* const metrics_;
  const core::Clock* const clock_;
  core::Log* const log_;
  const uint64_t seed_;

  uint64_t in_use_;  // Digests of texts: of the key in use,
  uint64_t seen_;    // and of what the file held last.
  bool unreadable_ = false;

  // A key that may yet be used.
  struct Candidate {
    Credentials credentials;
    bool asking = false;
    int64_t ask_at_ms = 0;
    int64_t refused_wait_ms = kRefusedFirstMs;
    int64_t unanswered_wait_ms = kUnansweredFirstMs;
    bool told_refused = false;
    bool told_unanswered = false;
  };
  std::optional<Candidate> candidate_;

  int64_t warned_of_s_ = 0;  // The expiry that the next line is about,
  size_t warnings_ = 0;      // and which of the warnings have been given.
};

}  // namespace proxy::momento
