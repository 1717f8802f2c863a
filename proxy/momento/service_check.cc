// See service_check.h.
#include "proxy/momento/service_check.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/momento/metrics.h"

namespace proxy::momento {
namespace {

// What is read of each cache to see whether the key lets us. Nobody stores it.
constexpr absl::string_view kProbeKey = "momento-proxy-key-check";
// Names listed in a message.
constexpr size_t kNamesMax = 10;

// Only an answer about the account is one: an overloaded or broken service has not judged it.
absl::StatusCode Judgement(Code code) {
  switch (code) {
    case Code::kUnauthenticated: return absl::StatusCode::kUnauthenticated;
    case Code::kPermissionDenied: return absl::StatusCode::kPermissionDenied;
    case Code::kNotFound: return absl::StatusCode::kFailedPrecondition;
    case Code::kInvalidArgument: return absl::StatusCode::kInvalidArgument;
    case Code::kDeadlineExceeded: return absl::StatusCode::kDeadlineExceeded;
    default: return absl::StatusCode::kUnavailable;
  }
}

std::string Names(const Caches& caches) {
  if (caches.empty()) return "it has none";
  std::string names = "it has";
  for (size_t i = 0; i < std::min(caches.size(), kNamesMax); ++i) {
    absl::StrAppend(&names, i == 0 ? " \"" : ", \"", caches[i].name, "\"");
  }
  if (caches.size() > kNamesMax) absl::StrAppend(&names, " and ", caches.size() - kNamesMax, " more");
  return names;
}

}  // namespace

ServiceCheck::ServiceCheck(const GrpcClient::Shared& shared, core::EventLoop* loop,
                           std::vector<config::Cache> caches, const Steps& steps)
    : steps_(steps), credentials_(shared.account->current()), caches_(std::move(caches)) {
  for (config::Cache cache : caches_) {
    cache.deadline = absl::Milliseconds(steps_.deadline_ms);
    cache.read_deadline = cache.control_deadline = std::nullopt;
    cache.retry_attempts = 0;  // Whoever checks asks again himself.
    cache.hedge_percentile = 0;
    clients_.push_back(std::make_unique<GrpcClient>(shared, loop, cache, /*connections=*/1));
  }
}

void ServiceCheck::Start(Done done) {
  done_ = std::move(done);
  if (steps_.ping) return Ping();
  if (steps_.caches) return List("");
  ReadAll();
}

absl::Status ServiceCheck::StatusOf(const Error& error, absl::string_view asked) const {
  const absl::StatusCode code = Judgement(error.code);
  const bool refused =
      error.code == Code::kUnauthenticated || error.code == Code::kPermissionDenied;
  return absl::Status(
      code, absl::StrCat(asked, " (", credentials_->cache_host, "): ",
                         refused ? "the service refuses the API key: " : "",
                         kCodeNames[static_cast<size_t>(error.code)],
                         error.message.empty() ? "" : ": ", error.message));
}

std::string ServiceCheck::Asked(absl::string_view what) const {
  return absl::StrCat(what, " for cache \"", caches_[0].cache_name, "\"");
}

void ServiceCheck::Ping() {
  clients_[0]->Ping([this](const DoneResult& result) {
    if (!result.error.ok()) return Finish(StatusOf(result.error, Asked("ping of Momento")));
    if (steps_.caches) return List("");
    if (steps_.key) return ReadAll();
    Finish(absl::OkStatus());
  });
}

void ServiceCheck::List(absl::string_view token) {
  clients_[0]->ListCaches(token, [this](CachesResult page) { OnListed(std::move(page)); });
}

void ServiceCheck::OnListed(CachesResult page) {
  if (!page.error.ok()) {
    absl::Status status = StatusOf(page.error, Asked("list of Momento caches"));
    if (absl::IsPermissionDenied(status)) {
      status = absl::PermissionDeniedError(absl::StrCat(
          status.message(), "; a key for data alone is checked by startup_check = \"key\""));
    }
    return Finish(std::move(status));
  }
  for (CacheInfo& cache : page.caches) listed_.push_back(std::move(cache));
  if (!page.next_token.empty()) return List(page.next_token);
  CreateMissing();
}

bool ServiceCheck::Listed(absl::string_view name) const {
  return std::any_of(listed_.begin(), listed_.end(),
                     [&](const CacheInfo& one) { return one.name == name; });
}

void ServiceCheck::CreateMissing() {
  const auto missing =
      std::find_if(caches_.begin(), caches_.end(),
                   [this](const config::Cache& cache) { return !Listed(cache.cache_name); });
  if (missing == caches_.end()) return ReadAll();
  const std::string& name = missing->cache_name;
  if (!steps_.create) {
    return Finish(absl::FailedPreconditionError(
        absl::StrCat("cache \"", name, "\": the Momento account has no such cache; ",
                     Names(listed_), ". Create it, or set momento.create_missing_caches")));
  }
  clients_[0]->CreateCache(name, [this, name](const DoneResult& result) {
    // Somebody may have been quicker.
    if (!result.error.ok() && result.error.code != Code::kAlreadyExists) {
      return Finish(StatusOf(result.error, absl::StrCat("creation of cache \"", name, "\"")));
    }
    ++created_;
    // What it allows is for the list to say: asked again when all are there.
    listed_.push_back(CacheInfo{.name = name});
    if (std::all_of(caches_.begin(), caches_.end(),
                    [this](const config::Cache& cache) { return Listed(cache.cache_name); })) {
      listed_.clear();
      return List("");
    }
    CreateMissing();
  });
}

void ServiceCheck::ReadAll() {
  reads_left_ = clients_.size();
  for (size_t i = 0; i < clients_.size(); ++i) {
    clients_[i]->Get(kProbeKey, [this, i](const GetResult& result) { OnRead(i, result.error); });
  }
}

void ServiceCheck::OnRead(size_t index, const Error& error) {
  if (!error.ok() && read_status_.ok()) {
    read_status_ =
        StatusOf(error, absl::StrCat("read of cache \"", caches_[index].cache_name, "\""));
    // A cache that was created a moment ago may not be known everywhere.
    if (error.code == Code::kNotFound && created_ > 0) {
      read_status_ = absl::UnavailableError(read_status_.message());
    }
  }
  if (--reads_left_ == 0) Finish(std::move(read_status_));
}

void ServiceCheck::Finish(absl::Status status) {
  Done done = std::move(done_);
  if (!status.ok()) return done(std::move(status));
  done(std::move(listed_));
}

}  // namespace proxy::momento
