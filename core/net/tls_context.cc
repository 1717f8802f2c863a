// See tls_context.h.
#include "core/net/tls_context.h"

#include <openssl/ssl.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/status.h"
#include "core/net/peer.h"

namespace core {
namespace {

absl::StatusOr<TlsMaterial> Load(const config::Tls& tls) {
  TlsMaterial material;
  absl::string_view knob;
  const absl::Status status = LoadTls(tls, &material, &knob);
  if (status.ok()) return material;
  return absl::Status(status.code(), absl::StrCat(knob, ": ", status.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsContext>> TlsContext::Create(const config::Tls& tls,
                                                               absl::string_view name, Log* log) {
  ASSIGN_OR_RETURN(TlsMaterial material, Load(tls));
  return std::unique_ptr<TlsContext>(new TlsContext(tls, name, log, std::move(material)));
}

void TlsContext::CountIn(NetMetrics* metrics) {
  metrics_ = metrics;
  NoteLoaded();
  MutexLock lock(mu_);
  metrics_->tls_expire_time.Add(material_.expires_sec);
}

absl::Status TlsContext::Reload() {
  absl::StatusOr<TlsMaterial> material = Load(tls_);
  if (!material.ok()) {
    metrics_->tls_reload_fail.Add();
    if (log_ != nullptr) {
      log_->Error("%s: the TLS certificate in use is kept: %s", name_,
                  material.status().message());
    }
    return material.status();
  }
  NoteLoaded();
  Install(*std::move(material));
  return absl::OkStatus();
}

void TlsContext::NoteLoaded() {
  const int64_t now_sec = absl::ToUnixSeconds(absl::Now());
  metrics_->tls_load_time.Add(now_sec - std::exchange(loaded_sec_, now_sec));
}

void TlsContext::Install(TlsMaterial material) {
  const std::string subject = material.subject;
  const std::string warning = material.warning;
  const int64_t expires_sec = material.expires_sec;
  {
    MutexLock lock(mu_);
    if (material.digest == material_.digest) return;
    metrics_->tls_expire_time.Add(expires_sec - material_.expires_sec);
    std::swap(material, material_);
  }
  metrics_->tls_reload.Add();
  if (log_ == nullptr) return;
  log_->Info("%s: new TLS certificate: %s, until %s", name_, subject,
             absl::FormatTime(absl::RFC3339_sec, absl::FromUnixSeconds(expires_sec),
                              absl::UTCTimeZone()));
  if (!warning.empty()) log_->Warning("%s: %s", name_, warning);
}

std::unique_ptr<TlsStream> TlsContext::NewStream(int fd, Worker* worker) {
  SSL* ssl;
  {
    MutexLock lock(mu_);
    ssl = SSL_new(material_.context.get());
  }
  return ssl == nullptr ? nullptr : TlsStream::Take(ssl, fd, worker, this);
}

void TlsContext::NoteFailure(int fd, absl::string_view why, int64_t now_ms) {
  metrics_->tls_handshake_fail.Add();
  std::string more;
  if (log_ == nullptr || !failures_.Admit(now_ms, &more)) return;
  log_->Warning("%s: TLS handshake with %s failed: %s%s", name_, PeerText(fd), why, more);
}

}  // namespace core
