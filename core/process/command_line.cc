// CLI11 is known here only; its exceptions end here.
#include "core/process/command_line.h"

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "core/process/exit_code.h"

namespace core {
namespace {

using Wish = Arguments::Wish;

absl::Status Usage(absl::string_view what) { return absl::OutOfRangeError(what); }

// memcached's switches that are understood well enough to say why not.
struct Refused {
  const char* name;
  bool takes_value;
  absl::string_view why;
};
constexpr std::array<Refused, 5> kRefused = {{
    {"-d", false, "it stays in the foreground; a service manager can keep it in the background"},
    {"-s", true, "unix sockets are not supported, say -l ADDRESS -p PORT"},
    {"-u", true, "it does not change users; start it as the user it shall run as"},
    {"-S", false, "SASL is not supported"},
    {"-Z", false, "TLS to clients is not supported"},
}};

// The switches as typed.
struct Typed {
  std::string config_file, positional_file, address;
  std::vector<std::string> sets;
  std::optional<uint32_t> port, workers, connections, megabytes;
  uint32_t udp_port = 0;
  int verbose = 0;
  bool check = false, print_config = false, describe_config = false, describe_metrics = false;
  bool help = false, version = false, local = false;
  CLI::Option* config_option = nullptr;
  CLI::Option* positional = nullptr;
  std::vector<CLI::Option*> refused;  // In the order of kRefused.
};

void DefineMain(const config::Habits& habits, CLI::App* app, Typed* typed) {
  app->set_help_flag("");
  typed->positional = app->add_option("file", typed->positional_file, "configuration file (TOML)");
  typed->positional->type_name("");
  typed->config_option = app->add_option("--config", typed->config_file, "the same, named");
  typed->config_option->type_name("FILE");
  app->add_option("--set", typed->sets,
                  "set one knob, section.key=value or cache[0].key=value; repeatable, wins over "
                  "the file")
      ->type_name("K=V")
      ->allow_extra_args(false);
  if (habits.has_local) {
    app->add_flag("--local", typed->local,
                  "serve from a Momento-compatible server inside this process instead of Momento; "
                  "data stays in this process and is gone when it ends. Without a file: one cache, "
                  "\"default-cache\"");
  }
  app->add_flag("--check", typed->check, "check the configuration and exit");
  app->add_flag("--print-config", typed->print_config, "print the effective configuration");
  app->add_flag("--describe-config", typed->describe_config,
                "print every knob with type, default and meaning");
  app->add_flag("--describe-metrics", typed->describe_metrics, "print every metric with meaning");
  app->add_flag("-V,--version", typed->version, "print the version");
  app->add_flag("-h,--help", typed->help, "print this");
}

void DefineLetters(const config::Habits& habits, CLI::App* app, Typed* typed) {
  const char* const group = "As in memcached";
  const std::string listen(habits.listen);
  const auto knob = [](absl::string_view path) {
    return path.empty() ? std::string("accepted, has no effect here") : std::string(path);
  };
  app->add_option("-p", typed->port, listen + ".port; 0 picks a free one and prints it")
      ->type_name("PORT")
      ->check(CLI::Range(0, 65535))
      ->group(group);
  app->add_option("-l", typed->address, listen + ".host")->type_name("ADDR")->group(group);
  app->add_option("-t", typed->workers, knob(habits.workers))->type_name("WORKERS")->group(group);
  app->add_option("-c", typed->connections, knob(habits.connections))
      ->type_name("CONNECTIONS")
      ->group(group);
  if (!habits.memory.empty()) {
    app->add_option("-m", typed->megabytes, knob(habits.memory) + ", in megabytes")
        ->type_name("MEGABYTES")
        ->group(group);
  }
  app->add_flag("-v", typed->verbose, "log.level = \"debug\"; -vv: \"trace\"")->group(group);
  app->add_option("-U", typed->udp_port, "UDP port; only 0, none, is accepted")
      ->type_name("0")
      ->group(group);
  for (const Refused& refused : kRefused) {
    CLI::Option* option = refused.takes_value ? app->add_option(refused.name)->expected(0, 1)
                                              : app->add_flag(refused.name);
    typed->refused.push_back(option->group(""));
  }
}

absl::Status CheckTyped(const Typed& typed) {
  for (size_t i = 0; i < kRefused.size(); ++i) {
    if (typed.refused[i]->count() > 0) {
      return Usage(absl::StrCat(kRefused[i].name, ": ", kRefused[i].why));
    }
  }
  if (typed.udp_port != 0) return Usage("-U: UDP is not supported, only -U 0 is accepted");
  if (absl::StrContains(typed.address, ",")) {
    return Usage(absl::StrCat("-l: expected one address, got \"", typed.address, "\""));
  }
  const bool by_name = typed.config_option->count() > 0;
  const bool by_place = typed.positional->count() > 0;
  if ((by_name && typed.config_file.empty()) || (by_place && typed.positional_file.empty())) {
    return Usage("the name of the configuration file is empty");  // An unset shell variable.
  }
  if (by_name && by_place) {
    return Usage(absl::StrCat("two configuration files, ", typed.config_file, " and ",
                              typed.positional_file, "; expected one"));
  }
  return absl::OkStatus();
}

Wish WishOf(const Typed& typed) {
  if (typed.describe_config) return Wish::kDescribeConfig;
  if (typed.describe_metrics) return Wish::kDescribeMetrics;
  if (typed.print_config) return Wish::kPrintConfig;
  return typed.check ? Wish::kCheck : Wish::kServe;
}

absl::Status AddSets(const Typed& typed, config::Source* source) {
  for (const std::string& set : typed.sets) {
    const size_t equals = set.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Usage(absl::StrCat("--set: expected section.key=value, got \"", set, "\""));
    }
    source->overrides.push_back({set.substr(0, equals), set.substr(equals + 1), "--set"});
  }
  return absl::OkStatus();
}

// The letters come after --set and so win over it.
void AddLetters(const config::Habits& habits, const Typed& typed, Arguments* arguments) {
  const auto set = [arguments](absl::string_view path, std::string value, const char* letter) {
    arguments->source.overrides.push_back({std::string(path), std::move(value), letter});
  };
  const auto set_or_note = [&](absl::string_view path, const std::optional<uint32_t>& value,
                               const char* letter) {
    if (!value) return;
    if (!path.empty()) return set(path, absl::StrCat(*value), letter);
    arguments->warnings.push_back(
        absl::StrCat(letter, ": ignored, gRPC manages threads and connections by itself"));
  };
  if (typed.port) set(absl::StrCat(habits.listen, ".port"), absl::StrCat(*typed.port), "-p");
  if (!typed.address.empty()) set(absl::StrCat(habits.listen, ".host"), typed.address, "-l");
  set_or_note(habits.workers, typed.workers, "-t");
  set_or_note(habits.connections, typed.connections, "-c");
  if (typed.megabytes) set(habits.memory, absl::StrCat(*typed.megabytes, "MB"), "-m");
  if (typed.verbose > 0) set("log.level", typed.verbose == 1 ? "debug" : "trace", "-v");
}

void AddDefaults(const config::Habits& habits, bool local, config::Source* source) {
  if (local) source->defaults = habits.local_defaults;
  if (!source->file.empty()) return;
  const auto& more = habits.without_file_defaults;
  source->defaults.insert(source->defaults.end(), more.begin(), more.end());
}

bool NamesACache(const config::Source& source) {
  for (const config::Override& set : source.overrides) {
    if (absl::EndsWith(set.path, ".cache_name")) return true;
  }
  return false;
}

absl::StatusOr<Arguments> Interpret(const config::Habits& habits, const Typed& typed) {
  absl::Status status = CheckTyped(typed);
  if (!status.ok()) return status;
  Arguments arguments;
  arguments.wish = WishOf(typed);
  arguments.local = typed.local;
  if (arguments.wish == Wish::kDescribeMetrics) {
    // What there is to count does not depend on the file; defaults always load.
    AddDefaults(habits, habits.has_local, &arguments.source);
    return arguments;
  }
  arguments.source.file = typed.config_file + typed.positional_file;  // At most one is not empty.
  status = AddSets(typed, &arguments.source);
  if (!status.ok()) return status;
  AddLetters(habits, typed, &arguments);
  AddDefaults(habits, typed.local, &arguments.source);
  const bool has_source =
      !arguments.source.file.empty() || typed.local || NamesACache(arguments.source);
  if (habits.needs_source && !has_source && arguments.wish != Wish::kDescribeConfig) {
    return Usage(
        "nothing to serve; give a configuration file (--config FILE) to reach Momento, or --local "
        "to try it with data kept in this process");
  }
  return arguments;
}

}  // namespace

absl::StatusOr<Arguments> ParseArguments(const config::Habits& habits, int argc,
                                         const char* const* argv) {
  Typed typed;
  try {
    CLI::App app(std::string(habits.summary), std::string(habits.name));
    DefineMain(habits, &app, &typed);
    DefineLetters(habits, &app, &typed);
    app.footer("A switch wins over --set, --set over the file, the file over the defaults.\n");
    app.parse(argc, argv);
    Arguments text;
    text.wish = Wish::kText;
    if (typed.help) {
      text.text = app.help();
      return text;
    }
    if (typed.version) {
      text.text = absl::StrCat(habits.name, " ", MP_VERSION, "\n");
      return text;
    }
    return Interpret(habits, typed);
  } catch (const CLI::Error& e) {
    return Usage(e.what());
  }
}

std::string StartError(absl::string_view product, const absl::Status& status) {
  std::string line = absl::StrCat(product, ": ", status.message(), "\n");
  if (status.code() == absl::StatusCode::kOutOfRange) {
    absl::StrAppend(&line, "Try '", product, " --help'.\n");
  }
  return line;
}

int PrintAndExitCode(const std::string& out, const std::string& err, int exit_code) {
  std::fwrite(out.data(), 1, out.size(), stdout);
  std::fflush(stdout);
  std::fwrite(err.data(), 1, err.size(), stderr);
  return exit_code;
}

namespace internal {

int ExitCodeOf(const absl::Status& status) { return ExitCode(status); }

std::string SourceName(const Arguments& arguments) {
  if (!arguments.source.file.empty()) return arguments.source.file;
  return arguments.local ? "--local" : "defaults";
}

std::string Lines(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) absl::StrAppend(&out, line, "\n");
  return out;
}

}  // namespace internal
}  // namespace core
