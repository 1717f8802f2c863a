// What the TLS connections of one listener start from, and how it is exchanged while they go on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/tls.h"
#include "core/base/mutex.h"
#include "core/log/limited_log.h"
#include "core/log/log.h"
#include "core/net/metrics.h"
#include "core/net/tls_material.h"
#include "core/net/tls_stream.h"
#include "core/net/worker.h"

namespace core {

class TlsContext {
 public:
  // Reads what `tls` names; an error begins with the knob at fault. `name` is the listener's in the
  // log. `log` may be null and otherwise outlives the context, as does `metrics`, which is given
  // before the first stream is made. Not for workers. REQUIRES: tls.enabled().
  static absl::StatusOr<std::unique_ptr<TlsContext>> Create(const config::Tls& tls,
                                                            absl::string_view name, Log* log);
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // Counts in `metrics` from now on. Main, before the workers run.
  void CountIn(NetMetrics* metrics);

  // Reads the files again. If they are good, connections made from now on use them, and sessions of
  // before are no longer resumed; those that are open go on. If not, nothing changes. If they are as
  // they were, nothing changes either. All of it is logged and counted here. One thread at a time,
  // no worker.
  absl::Status Reload();

  // The server's end of TLS on the accepted socket `fd`, which is borrowed as long as the stream
  // lives. `worker` is the caller's. Null when out of memory.
  std::unique_ptr<TlsStream> NewStream(int fd, Worker* worker);

  // Counts a handshake that came to nothing, and logs now and then why. Any thread.
  void NoteFailure(int fd, absl::string_view why, int64_t now_ms);

  NetMetrics& metrics() { return *metrics_; }
  const config::Tls& options() const { return tls_; }

 private:
  TlsContext(const config::Tls& tls, absl::string_view name, Log* log, TlsMaterial material)
      : tls_(tls), name_(name), log_(log), material_(std::move(material)) {}
  void Install(TlsMaterial material);
  void NoteLoaded();

  const config::Tls tls_;
  const std::string name_;
  Log* const log_;
  NetMetrics* metrics_ = nullptr;
  int64_t loaded_sec_ = 0;  // Of tls_load_time.
  LineLimit failures_;
  Mutex mu_;
  TlsMaterial material_ ABSL_GUARDED_BY(mu_);
};

}  // namespace core
