// argv to a checked configuration and a thing to do. The same switches in every product:
//
//   precedence: -p, -l, -m and the other letters  over  --set  over  the file  over  defaults
//
// Nothing is printed and nothing exits here; main prints what comes back:
//
//   int main(int argc, char** argv) {
//     auto start = core::ParseCommandLine<config::Segcache>(argc, argv);
//     if (start.action == core::Action::kExit) return core::PrintAndExitCode(start.out, start.err,
//                                                                            start.exit_code);
//     if (start.action == core::Action::kDescribeMetrics) { build; print; return 0; }
//     for (const std::string& line : start.warnings) log->Warning("%s", line);
//     return Serve(start.config);
//   }
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "config/habits.h"
#include "config/listeners.h"
#include "config/loader.h"
#include "core/process/start_check.h"
#include "core/process/tls_check.h"

namespace core {

enum class Action : uint8_t {
  kServe,            // Start, with `config`.
  kDescribeMetrics,  // Build the metrics for `config` (defaults), print them, exit 0.
  kExit,             // Print `out` and `err`, exit with `exit_code`.
};

template <class Product>
struct Invocation {
  Action action = Action::kExit;
  Product config;
  bool local = false;                 // --local: serve the caches from an embedded momento_local.
  config::Source from;                // To read it again.
  std::string source;                 // What the log may call the configuration: a file's name, ...
  std::vector<std::string> warnings;  // Whole lines about the configuration, for the log.
  std::string out, err;               // kExit: for stdout and stderr.
  int exit_code = 0;                  // kExit.
};

// What the switches say, before any file is read.
struct Arguments {
  enum class Wish : uint8_t {
    kServe,
    kCheck,
    kPrintConfig,
    kDescribeConfig,
    kDescribeMetrics,
    kText,  // --help, --version: `text`.
  };
  Wish wish = Wish::kServe;
  config::Source source;
  bool local = false;
  std::vector<std::string> warnings;
  std::string text;
};

// OutOfRange (exit code 64, EX_USAGE) when the switches make no sense.
absl::StatusOr<Arguments> ParseArguments(const config::Habits& habits, int argc,
                                         const char* const* argv);

// "name: message", and for a mistake in the switches where to read about them; exit code as
// exit_code.h has it.
std::string StartError(absl::string_view product, const absl::Status& status);

// Writes both and returns `exit_code`.
int PrintAndExitCode(const std::string& out, const std::string& err, int exit_code);

namespace internal {
int ExitCodeOf(const absl::Status& status);
std::string SourceName(const Arguments& arguments);
std::string Lines(const std::vector<std::string>& lines);
}  // namespace internal

template <class Product>
Invocation<Product> ParseCommandLine(int argc, const char* const* argv) {
  using Wish = Arguments::Wish;
  Invocation<Product> result;
  const auto fail = [&result](const absl::Status& status) {
    result.err = StartError(Product::kName, status);
    result.exit_code = internal::ExitCodeOf(status);
    return result;
  };
  absl::StatusOr<Arguments> arguments = ParseArguments(config::HabitsOf<Product>(), argc, argv);
  if (!arguments.ok()) return fail(arguments.status());
  if (arguments->wish == Wish::kText || arguments->wish == Wish::kDescribeConfig) {
    result.out = arguments->wish == Wish::kText ? arguments->text : config::Describe<Product>();
    return result;
  }
  absl::StatusOr<config::LoadResult<Product>> loaded = config::Load<Product>(arguments->source);
  if (!loaded.ok()) return fail(loaded.status());
  const std::vector<config::PlacedListener> listeners = config::ListenersOf(loaded->config);
  absl::Status found = CheckTls(listeners, loaded->places, &loaded->warnings);
  if constexpr (requires { loaded->config.server; }) {
    if (found.ok() && arguments->wish == Wish::kCheck) {
      found = CheckStart(loaded->config.server.user, listeners);
    }
  }
  if (!found.ok()) return fail(found);
  result.config = std::move(loaded->config);
  result.local = arguments->local;
  result.source = internal::SourceName(*arguments);
  result.from = arguments->source;
  result.warnings = std::move(arguments->warnings);
  for (std::string& line : loaded->warnings) result.warnings.push_back(std::move(line));
  switch (arguments->wish) {
    case Wish::kServe:
      result.action = Action::kServe;
      break;
    case Wish::kDescribeMetrics:
      result.action = Action::kDescribeMetrics;
      break;
    case Wish::kPrintConfig:
      result.out = config::Print(result.config);
      result.err = internal::Lines(result.warnings);
      break;
    default:
      result.out = absl::StrCat(result.source, ": OK\n");
      result.err = internal::Lines(result.warnings);
  }
  return result;
}

}  // namespace core
