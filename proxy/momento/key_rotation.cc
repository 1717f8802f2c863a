// See key_rotation.h.
#include "proxy/momento/key_rotation.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/hash.h"

namespace proxy::momento {
namespace {

// How long before the end of a key each warning comes; the last is the end itself.
constexpr std::array<int64_t, 4> kWarnSeconds = {7 * 86400, 86400, 3600, 0};

bool Unanswered(const absl::Status& verdict) {
  return absl::IsUnavailable(verdict) || absl::IsDeadlineExceeded(verdict);
}

std::string SpellExpiry(const Credentials& credentials) {
  if (credentials.expires_at_s == 0) return "it names no end";
  return absl::StrCat("it expires on ", SpellTime(credentials.expires_at_s));
}

// Two digits of precision are enough to act on.
std::string SpellSeconds(int64_t seconds) {
  if (seconds >= 2 * 86400) return absl::StrCat(seconds / 86400, " days");
  if (seconds >= 2 * 3600) return absl::StrCat(seconds / 3600, " hours");
  return absl::StrCat(seconds / 60, " minutes");
}

}  // namespace

KeyRotation::KeyRotation(KeySource source, const Secret& key, ReadFile read_file, Account* account,
                         KeyChecker* checker, KeyMetrics* metrics, const core::Clock* clock,
                         core::Log* log)
    : source_(std::move(source)),
      read_file_(std::move(read_file)),
      account_(account),
      checker_(checker),
      metrics_(metrics),
      clock_(clock),
      log_(log),
      seed_(static_cast<uint64_t>(clock->WallNs())),
      in_use_(Digest(key)),
      seen_(in_use_) {}

uint64_t KeyRotation::Digest(const Secret& key) const { return core::Hash64(key.view(), seed_); }

void KeyRotation::Look() {
  if (!source_.file.empty()) LookAtFile();
  LookAtExpiry();
}

void KeyRotation::LookAtFile() {
  const absl::StatusOr<Secret> key = read_file_();
  if (!key.ok()) return Unreadable(key.status().message());
  if (std::exchange(unreadable_, false)) {
    log_->Info("%s.api_key_file: there is a key in \"%s\" again", source_.section, source_.file);
  }
  const uint64_t digest = Digest(*key);
  if (digest != seen_) return Judge(digest, *key);
  if (candidate_ && !candidate_->asking && clock_->MonotonicMs() >= candidate_->ask_at_ms) Ask();
}

void KeyRotation::Unreadable(absl::string_view why) {
  if (std::exchange(unreadable_, true)) return;
  metrics_->unreadable.Add();
  log_->Warning("%s; the API key in use stays", why);
  seen_ = in_use_;
  Settle();
}

void KeyRotation::Settle() {
  checker_->CallOff();
  candidate_.reset();
  metrics_->SetPending(false);
}

void KeyRotation::Judge(uint64_t digest, const Secret& key) {
  Settle();
  seen_ = digest;
  if (digest == in_use_) return;  // Back to what it was.
  absl::StatusOr<Credentials> credentials = ParseCredentials(source_, key.view());
  absl::Status status = credentials.status();
  if (status.ok()) status = CheckExpiry(*credentials, clock_->WallSec());
  if (!status.ok()) return KeepOut(status.message());
  metrics_->SetPending(true);
  candidate_ = Candidate{.credentials = *std::move(credentials)};
  Ask();
}

void KeyRotation::Ask() {
  candidate_->asking = true;
  checker_->Check(candidate_->credentials,
                  [this](const absl::Status& verdict) { OnVerdict(verdict); });
}

void KeyRotation::OnVerdict(const absl::Status& verdict) {
  if (verdict.ok()) return TakeIntoUse();
  Candidate& candidate = *candidate_;
  candidate.asking = false;
  const bool unanswered = Unanswered(verdict);
  int64_t& wait_ms = unanswered ? candidate.unanswered_wait_ms : candidate.refused_wait_ms;
  candidate.ask_at_ms = clock_->MonotonicMs() + wait_ms;
  wait_ms = std::min(2 * wait_ms, unanswered ? kUnansweredLastMs : kRefusedLastMs);
  if (!unanswered) {
    if (!std::exchange(candidate.told_refused, true)) KeepOut(verdict.message());
  } else if (!std::exchange(candidate.told_unanswered, true)) {
    log_->Warning("%s.api_key_file: the new API key in \"%s\" waits to be checked: %s",
                  source_.section, source_.file, verdict.message());
  }
}

void KeyRotation::TakeIntoUse() {
  in_use_ = seen_;
  metrics_->accepted.Add();
  metrics_->SetPending(false);
  log_->Info("%s.api_key_file: the new API key in \"%s\" is in use, %s", source_.section,
             source_.file, SpellExpiry(candidate_->credentials));
  account_->Replace(std::move(candidate_->credentials));
  candidate_.reset();
}

void KeyRotation::KeepOut(absl::string_view why) {
  metrics_->refused.Add();
  metrics_->SetPending(true);
  log_->Error("%s.api_key_file: the new API key in \"%s\" is refused, the one in use stays: %s",
              source_.section, source_.file, why);
}

void KeyRotation::LookAtExpiry() {
  const int64_t expires_s = account_->current()->expires_at_s;
  if (expires_s != warned_of_s_) {
    warned_of_s_ = expires_s;
    warnings_ = 0;
  }
  if (expires_s == 0) return;
  const int64_t left_s = expires_s - clock_->WallSec();
  size_t due = warnings_;
  while (due < kWarnSeconds.size() && left_s <= kWarnSeconds[due]) ++due;
  if (due == warnings_) return;
  warnings_ = due;
  if (left_s <= 0) {
    return log_->Error("%s: the API key in use expired on %s", source_.section,
                       SpellTime(expires_s));
  }
  log_->Warning("%s: the API key in use expires in %s, on %s", source_.section,
                SpellSeconds(left_s), SpellTime(expires_s));
}

}  // namespace proxy::momento
