#include "core/admin/admin.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "config/server.h"
#include "core/admin/http.h"
#include "core/admin/text_codec.h"
#include "core/admin/text_service.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/net/listener.h"
#include "core/net/server.h"
#include "core/net/worker.h"

namespace core {

namespace {

constexpr uint32_t kTextConnectionsMax = 64;  // People and scrapers; anything more is a mistake.
constexpr int kBacklog = 128;                 // A burst of probes.

using TextServer = Server<AdminTextCodec, AdminTextService>;

config::Server TextLimits() {
  config::Server limits;
  limits.connections_max = kTextConnectionsMax;
  limits.backlog = kBacklog;
  limits.idle_timeout = absl::Seconds(60);
  limits.in_flight_max = 16;  // Commands typed ahead; each may print every metric.
  return limits;
}

absl::Status WithKey(absl::string_view key, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(key, ": ", status.message()));
}

}  // namespace

// Members are destroyed bottom up: what is attached to the loop goes after its thread has ended
// (Stop) and before the loop itself.
struct Admin::Running {
  Running(AdminHooks h, Log* l) : hooks(std::move(h)), log(l) {}

  absl::Status ServeText(const config::Admin& config, ListenSockets* sockets);
  absl::Status ServeHttp(const config::Admin& config, ListenSockets* sockets);

  const AdminHooks hooks;
  Log* const log;
  const RealClock clock;
  ConnectionLimit connections{kTextConnectionsMax};
  std::unique_ptr<NetMetrics> http_metrics;
  std::unique_ptr<AdminHttp> http;
  WorkerPool pool{1, &clock, hooks.metrics, "admin_"};
  std::unique_ptr<TextServer> text;
  std::unique_ptr<Acceptor> http_acceptor;
  uint16_t port = 0;
  uint16_t http_port = 0;
};

absl::Status Admin::Running::ServeText(const config::Admin& config, ListenSockets* sockets) {
  absl::StatusOr<std::unique_ptr<TextServer>> server =
      TextServer::Create(TextLimits(), {.host = config.host, .port = config.port}, "admin", &pool,
                         hooks.metrics, &connections, AdminTextCodec(),
                         [this](Worker&) { return std::make_unique<AdminTextService>(&hooks); },
                         nullptr, sockets);
  if (!server.ok()) return WithKey("admin.port", server.status());
  text = *std::move(server);
  port = text->port();
  log->Info("admin: text on %s:%d", config.host, port);
  return absl::OkStatus();
}

absl::Status Admin::Running::ServeHttp(const config::Admin& config, ListenSockets* sockets) {
  absl::StatusOr<Fd> listening = Listen(config.http_host, config.http_port, kBacklog, sockets);
  if (!listening.ok()) return WithKey("admin.http_port", listening.status());
  http = std::make_unique<AdminHttp>(&hooks);
  http_metrics = std::make_unique<NetMetrics>(hooks.metrics, Labels{{"server", "admin_http"}});
  http_acceptor = std::make_unique<Acceptor>(&pool.worker(0).loop, *std::move(listening),
                                             http_metrics.get(), [this](Fd connection) {
                                               http_metrics->connection_accept.Add();
                                               if (!http->Serve(std::move(connection)))
                                                 http_metrics->connection_reject.Add();
                                             });
  http_port = http_acceptor->port();
  log->Info("admin: HTTP on %s:%d", config.http_host, http_port);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Admin>> Admin::Start(const config::Admin& config, AdminHooks hooks,
                                                    Log* log, ListenSockets* sockets) {
  auto running = std::make_unique<Running>(std::move(hooks), log);
  if (config.enabled) RETURN_IF_ERROR(running->ServeText(config, sockets));
  if (config.http_enabled) RETURN_IF_ERROR(running->ServeHttp(config, sockets));
  if (config.enabled || config.http_enabled) running->pool.Start();
  return std::unique_ptr<Admin>(new Admin(std::move(running)));
}

Admin::Admin(std::unique_ptr<Running> running) : running_(std::move(running)) {}

Admin::~Admin() { Stop(); }

uint16_t Admin::port() const { return running_ == nullptr ? 0 : running_->port; }
uint16_t Admin::http_port() const { return running_ == nullptr ? 0 : running_->http_port; }

void Admin::Stop() {
  if (running_ == nullptr) return;
  running_->pool.Stop();
  running_.reset();
}

}  // namespace core
