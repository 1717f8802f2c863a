// See key_watch.h.
#include "proxy/momento/key_watch.h"

#include <pthread.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/momento/key_file.h"
#include "proxy/momento/member_timer.h"
#include "proxy/momento/service_check.h"

namespace proxy::momento {
namespace {

// How long the service may take to judge a key, opening of the connection included: ten times what
// a call of a busy cache may take, and nobody waits for it.
constexpr int64_t kCheckDeadlineMs = 10'000;

}  // namespace

// One account under watch. Lives on the loop's thread once that runs.
class KeyWatch::Entry final : private KeyChecker {
 public:
  Entry(WatchedAccount watched, const GrpcClient::Shared& shared, int64_t interval_ms,
        core::EventLoop* loop, const core::Clock* clock)
      : shared_(shared),
        interval_ms_(interval_ms),
        loop_(loop),
        caches_(std::move(watched.caches)),
        rotation_(watched.source, watched.key,
                  [file = watched.source.file,
                   knob = absl::StrCat(watched.source.section, ".api_key_file")] {
                    return ReadKeyFile(file, knob);
                  },
                  watched.account, this, watched.metrics, clock, shared.log) {
    loop_->Arm(&look_timer_, 0);
  }

  void Look() {
    rotation_.Look();
    loop_->Arm(&look_timer_, interval_ms_);
  }

 private:
  void Check(const Credentials& candidate, Verdict done) override {
    CallOff();
    candidate_ = std::make_unique<Account>(candidate, nullptr);
    GrpcClient::Shared shared = shared_;
    shared.account = candidate_.get();
    shared.log = nullptr;  // The verdict is the one line about it.
    check_ = std::make_unique<ServiceCheck>(
        shared, loop_, caches_,
        ServiceCheck::Steps{.key = true, .deadline_ms = kCheckDeadlineMs});
    check_->Start([this, done = std::move(done)](const absl::StatusOr<Caches>& result) mutable {
      loop_->Arm(&end_timer_, 0);  // The check cannot be destroyed from inside its own callback.
      done(result.status());
    });
  }
  void CallOff() override {
    end_timer_.Cancel();
    check_.reset();
    candidate_.reset();
  }

  const GrpcClient::Shared shared_;
  const int64_t interval_ms_;
  core::EventLoop* const loop_;
  const std::vector<config::Cache> caches_;
  std::unique_ptr<Account> candidate_;   // Outlives the check.
  std::unique_ptr<ServiceCheck> check_;  // Null: none under way.
  MemberTimer<Entry, &Entry::CallOff> end_timer_{this};
  KeyRotation rotation_;
  MemberTimer<Entry, &Entry::Look> look_timer_{this};
};

KeyWatch::KeyWatch(std::vector<WatchedAccount> accounts, const GrpcClient::Shared& shared,
                   int64_t interval_ms, const core::Clock* clock)
    : loop_(clock) {
  for (WatchedAccount& account : accounts) {
    entries_.push_back(
        std::make_unique<Entry>(std::move(account), shared, interval_ms, &loop_, clock));
  }
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "key_watch");
    loop_.Run();
  });
}

KeyWatch::~KeyWatch() {
  loop_.Stop();
  thread_.join();
}

void KeyWatch::LookNow() {
  loop_.Post([this] {
    for (const auto& entry : entries_) entry->Look();
  });
}

}  // namespace proxy::momento
