// The frame of every main(): command line, then the process, then what the product is.
//
//   int main(int argc, char** argv) {
//     return core::Main<config::Pingserver>(argc, argv, {.serve = Serve, .metrics = Metrics});
//   }
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "core/process/command_line.h"
#include "core/process/exit_code.h"
#include "core/process/process.h"

namespace core {

template <class Product>
struct Program {
  // Builds the product, serves until told to stop, takes it apart. The exit code, or why it could
  // not start. Main thread.
  std::function<absl::StatusOr<int>(const Invocation<Product>&, Process&)> serve;
  // Registers what the product counts, for --describe-metrics.
  std::function<void(Registry*)> metrics;
};

template <class Product>
int Main(int argc, char** argv, const Program<Product>& program) {
  Invocation<Product> start = ParseCommandLine<Product>(argc, argv);
  if (start.action == Action::kExit) return PrintAndExitCode(start.out, start.err, start.exit_code);
  if (start.action == Action::kDescribeMetrics) {
    Registry registry;
    RegisterProcess(start.config.admin, std::string(Product::kName), MP_VERSION, &registry);
    program.metrics(&registry);
    return PrintAndExitCode(registry.Describe(), "", 0);
  }
  const auto fail = [](const absl::Status& status) {
    return PrintAndExitCode("", StartError(Product::kName, status), ExitCode(status));
  };
  ProcessOptions options;
  options.product = std::string(Product::kName);
  options.version = MP_VERSION;
  options.log = start.config.log;
  options.admin = start.config.admin;
  if constexpr (requires { start.config.server; }) {
    options.connections_max = start.config.server.connections_max;
    options.drain_delay = start.config.server.drain_delay;
    options.drain_timeout = start.config.server.drain_timeout;
    options.user = start.config.server.user;
    options.pid_file = start.config.server.pid_file;
    options.handover_socket = start.config.server.handover_socket;
  }
  absl::StatusOr<std::unique_ptr<Process>> process = Process::Create(std::move(options));
  if (!process.ok()) return fail(process.status());
  Log* log = (*process)->log();
  log->Info("configuration: %s", start.source);
  for (const std::string& line : start.warnings) log->Warning("%s", line);
  const absl::StatusOr<int> code = program.serve(start, **process);
  log->Flush();
  return code.ok() ? *code : fail(code.status());
}

}  // namespace core
