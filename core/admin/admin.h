// The operator's two ports, on threads of their own: nothing here runs on a worker.
//
//   text  stats [prefix] | version | help | quit | what the product adds
//   HTTP  /metrics /healthz /readyz /version / | what the product adds
//
// One loop thread accepts for both ports and answers the text one (it is a codec and a service on
// the runtime that clients are served with); a few threads speak HTTP, one connection each for at
// most five seconds. Limits are constants in the .cc files; nothing a peer sends costs more than
// its connection.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/admin.h"
#include "core/log/log.h"
#include "core/metrics/metrics.h"
#include "core/net/listen_sockets.h"

namespace core {

// What a product tells its admin ports. Functions are called from admin threads at any time between
// Start() and Stop(), those of pages from several at once; they return soon and do not throw.
struct AdminHooks {
  struct TextCommand {
    std::string help;  // One sentence for "help".
    // Gets what follows the command's name; returns the reply, lines ended by LF or CRLF.
    std::function<std::string(absl::string_view args)> run;
  };
  struct HttpPage {
    std::string help;
    std::string content_type = "text/plain; charset=utf-8";
    std::function<std::string()> body;
  };

  Registry* metrics = nullptr;
  std::string product;
  std::string version;
  // OK while clients should be sent here; else the message is the one-line reason /readyz gives.
  std::function<absl::Status()> ready;
  std::map<std::string, TextCommand> commands;  // By first word.
  std::map<std::string, HttpPage> pages;        // By path, "/" first.
};

class Admin {
 public:
  // Listens on what `config` enables and starts to serve. The ports are logged. A port that cannot
  // be had is an error that names the key, the address and the reason. `hooks.metrics` and `log`
  // outlive the Admin; one Admin a registry.
  // `sockets`: as for core::Listen().
  static absl::StatusOr<std::unique_ptr<Admin>> Start(const config::Admin& config, AdminHooks hooks,
                                                      Log* log, ListenSockets* sockets = nullptr);
  ~Admin();
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  // The ports in use; 0 when not served.
  uint16_t port() const;
  uint16_t http_port() const;

  // Closes both ports and every connection, joins the threads. No hook runs after it. Idempotent.
  void Stop();

 private:
  struct Running;
  explicit Admin(std::unique_ptr<Running> running);
  std::unique_ptr<Running> running_;
};

}  // namespace core
