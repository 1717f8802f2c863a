// CLI11 is known here only; its exceptions end here.
#include "core/process/command_line.h"

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
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
constexpr std::array<Refused, 3> kRefused = {{
    {"-d,--daemon", false,
     "it stays in the foreground; a service manager can keep it in the background"},
    {"-S,--enable-sasl", false,
     "SASL's own configuration is not read; -Y FILE names the users, for SASL PLAIN too"},
    {"-Z,--enable-ssl", false, "TLS is configured with a file; see tls_certificate_file"},
}};

// And those that ask for what has no part in this design: noted, and otherwise nothing.
struct Ignored {
  const char* name;
  bool takes_value;
  absl::string_view why;
};
constexpr std::array<Ignored, 9> kIgnored = {{
    {"-f,--slab-growth-factor", true, "there are no slabs"},
    {"-n,--slab-min-size", true, "there are no slabs"},
    {"-k,--lock-memory", false, "memory is not locked; the service manager's limits decide"},
    {"-r,--enable-coredumps", false, "the limit on core files is the service manager's"},
    {"-R,--max-reqs-per-event", true, "a turn ends after 64 KB of one connection's input"},
    {"-C,--disable-cas", false, "tokens cost nothing until they are asked for"},
    {"-D", true, "there are no statistics by prefix"},
    {"-A,--enable-shutdown", false, "there is no shutdown command; send SIGTERM"},
    {"-X,--disable-dumping", false, "there is nothing that dumps keys"},
}};

// The switches as typed.
struct Typed {
  std::string config_file, positional_file, item_size, protocol = "auto";
  std::vector<std::string> sets, addresses, extended;
  std::optional<uint32_t> port, workers, connections, megabytes, backlog;
  std::optional<std::string> user, pid_file, restart_file, auth_file, unix_socket, unix_mask;
  bool no_flush = false, no_evictions = false, huge_pages = false, no_watch = false;
  uint32_t udp_port = 0;
  int verbose = 0;
  bool check = false, print_config = false, describe_config = false, describe_metrics = false;
  bool help = false, version = false, local = false;
  CLI::Option* config_option = nullptr;
  CLI::Option* positional = nullptr;
  std::vector<CLI::Option*> refused;  // In the order of kRefused.
  std::vector<CLI::Option*> ignored;  // In the order of kIgnored.
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

constexpr char kGroup[] = "As in memcached";

std::string Meaning(absl::string_view knob, absl::string_view more = "") {
  if (knob.empty()) return "accepted, has no effect here";
  return absl::StrCat(knob, more);
}

void DefineWhere(const config::Habits& habits, CLI::App* app, Typed* typed) {
  const std::string listen(habits.listen);
  app->add_option("-p,--port", typed->port, listen + ".port; 0 picks a free one and prints it")
      ->type_name("PORT")
      ->check(CLI::Range(0, 65535))
      ->group(kGroup);
  CLI::Option* addresses =
      app->add_option("-l,--listen", typed->addresses, listen + ".host")
          ->type_name("ADDR")
          ->allow_extra_args(false)
          ->group(kGroup);
  app->add_option("-U,--udp-port", typed->udp_port, "UDP port; only 0, none, is accepted")
      ->type_name("0")
      ->group(kGroup);
  if (!habits.has_unix_socket) return;
  addresses->description(listen + ".host; several, separated by commas, share the port");
  app->add_option("-s,--unix-socket", typed->unix_socket,
                  listen + ".unix_socket, instead of TCP")
      ->type_name("PATH")
      ->group(kGroup);
  app->add_option("-a,--unix-mask", typed->unix_mask, listen + ".unix_mask, in octal")
      ->type_name("MASK")
      ->group(kGroup);
}

void DefineLimits(const config::Habits& habits, CLI::App* app, Typed* typed) {
  app->add_option("-t,--threads", typed->workers, Meaning(habits.workers))
      ->type_name("WORKERS")
      ->group(kGroup);
  app->add_option("-c,--conn-limit", typed->connections, Meaning(habits.connections))
      ->type_name("CONNECTIONS")
      ->group(kGroup);
  app->add_option("-b,--listen-backlog", typed->backlog, Meaning(habits.backlog))
      ->type_name("CONNECTIONS")
      ->group(kGroup);
  app->add_option("-m,--memory-limit", typed->megabytes, Meaning(habits.memory, ", in megabytes"))
      ->type_name("MEGABYTES")
      ->check(CLI::Range(1u, 1u << 20))
      ->group(kGroup);
  app->add_option("-I,--max-item-size", typed->item_size, Meaning(habits.item_size, "; 512k, 2m"))
      ->type_name("SIZE")
      ->group(kGroup);
  app->add_flag("-M,--disable-evictions", typed->no_evictions,
                Meaning(habits.eviction, " = \"none\""))
      ->group(kGroup);
  app->add_flag("-L,--enable-largepages", typed->huge_pages,
                Meaning(habits.huge_pages, " = true"))
      ->group(kGroup);
  app->add_flag("-F,--disable-flush-all", typed->no_flush, Meaning(habits.flush_all, " = false"))
      ->group(kGroup);
  app->add_flag("-W,--disable-watch", typed->no_watch, Meaning(habits.watch, " = false"))
      ->group(kGroup);
  app->add_option("-o,--extended", typed->extended,
                  "idle_timeout=SECONDS; the rest is accepted and has no effect here")
      ->type_name("LIST")
      ->allow_extra_args(false)
      ->group(kGroup);
}

void DefineLetters(const config::Habits& habits, CLI::App* app, Typed* typed) {
  DefineWhere(habits, app, typed);
  DefineLimits(habits, app, typed);
  if (!habits.user.empty()) {
    app->add_option("-u,--user", typed->user, Meaning(habits.user))->type_name("USER")->group(kGroup);
  }
  if (!habits.pid_file.empty()) {
    app->add_option("-P,--pidfile", typed->pid_file, Meaning(habits.pid_file))
        ->type_name("FILE")
        ->group(kGroup);
  }
  if (!habits.restart_file.empty()) {
    app->add_option("-e,--memory-file", typed->restart_file, Meaning(habits.restart_file))
        ->type_name("FILE")
        ->group(kGroup);
  }
  if (!habits.auth_file.empty()) {
    app->add_option("-Y,--auth-file", typed->auth_file, Meaning(habits.auth_file))
        ->type_name("FILE")
        ->group(kGroup);
  }
  app->add_flag("-v,--verbose", typed->verbose, "log.level = \"debug\"; -vv: \"trace\"")
      ->group(kGroup);
  app->add_option("-B,--protocol", typed->protocol,
                  "only ascii and auto are accepted: a connection's first byte decides")
      ->type_name("ascii")
      ->group(kGroup);
  const auto hidden = [app](const char* name, bool takes_value) {
    CLI::Option* option = takes_value ? app->add_option(name)->expected(0, 1) : app->add_flag(name);
    return option->group("");
  };
  for (const Refused& one : kRefused) typed->refused.push_back(hidden(one.name, one.takes_value));
  for (const Ignored& one : kIgnored) typed->ignored.push_back(hidden(one.name, one.takes_value));
}

// "-d", of "-d,--daemon".
absl::string_view Letter(const char* name) { return absl::string_view(name).substr(0, 2); }

absl::Status CheckTyped(const config::Habits& habits, const Typed& typed) {
  for (size_t i = 0; i < kRefused.size(); ++i) {
    if (typed.refused[i]->count() > 0) {
      return Usage(absl::StrCat(Letter(kRefused[i].name), ": ", kRefused[i].why));
    }
  }
  if (typed.udp_port != 0) return Usage("-U: UDP is not supported, only -U 0 is accepted");
  if (typed.protocol != "ascii" && typed.protocol != "auto") {
    return Usage(absl::StrCat("-B: the ", typed.protocol, " protocol alone is not supported"));
  }
  if (!habits.has_unix_socket && (typed.addresses.size() > 1 ||
                                  (typed.addresses.size() == 1 &&
                                   absl::StrContains(typed.addresses[0], ",")))) {
    return Usage(absl::StrCat("-l: expected one address, got \"",
                              absl::StrJoin(typed.addresses, ","), "\""));
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

// "512k" and "2m" as the configuration spells them; another text as it is.
std::string SizeText(std::string text) {
  if (text.empty()) return text;
  switch (text.back()) {
    case 'k':
    case 'K':
      return absl::StrCat(text.substr(0, text.size() - 1), "KB");
    case 'm':
    case 'M':
      return absl::StrCat(text.substr(0, text.size() - 1), "MB");
    case 'g':
    case 'G':
      return absl::StrCat(text.substr(0, text.size() - 1), "GB");
    default:
      return text;
  }
}

void AddExtended(const config::Habits& habits, const Typed& typed, Arguments* arguments) {
  constexpr absl::string_view kIdle = "idle_timeout=";
  std::vector<absl::string_view> unknown;
  for (const std::string& list : typed.extended) {
    for (const absl::string_view one : absl::StrSplit(list, ',', absl::SkipEmpty())) {
      if (absl::StartsWith(one, kIdle) && !habits.idle_timeout.empty()) {
        arguments->source.overrides.push_back({std::string(habits.idle_timeout),
                                               absl::StrCat(one.substr(kIdle.size()), "s"), "-o"});
      } else {
        unknown.push_back(one);
      }
    }
  }
  if (unknown.empty()) return;
  arguments->warnings.push_back(
      absl::StrCat("-o: ", absl::StrJoin(unknown, ","), ": ignored, nothing like it here"));
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
  const auto set_if = [&](bool asked, absl::string_view path, std::string value,
                          const char* letter) {
    if (!asked) return;
    if (!path.empty()) return set(path, std::move(value), letter);
    arguments->warnings.push_back(absl::StrCat(letter, ": ignored, nothing like it here"));
  };
  if (typed.port) set(absl::StrCat(habits.listen, ".port"), absl::StrCat(*typed.port), "-p");
  if (!typed.addresses.empty()) {
    set(absl::StrCat(habits.listen, ".host"), absl::StrJoin(typed.addresses, ","), "-l");
  }
  if (typed.unix_socket) {
    set(absl::StrCat(habits.listen, ".unix_socket"), *typed.unix_socket, "-s");
    set(absl::StrCat(habits.listen, ".tcp"), "false", "-s");
  }
  if (typed.unix_mask) set(absl::StrCat(habits.listen, ".unix_mask"), *typed.unix_mask, "-a");
  set_or_note(habits.workers, typed.workers, "-t");
  set_or_note(habits.connections, typed.connections, "-c");
  set_or_note(habits.backlog, typed.backlog, "-b");
  set_if(typed.megabytes.has_value(), habits.memory,
         absl::StrCat(typed.megabytes.value_or(0), "MB"), "-m");
  set_if(!typed.item_size.empty(), habits.item_size, SizeText(typed.item_size), "-I");
  set_if(typed.no_evictions, habits.eviction, "none", "-M");
  set_if(typed.huge_pages, habits.huge_pages, "true", "-L");
  set_if(typed.no_flush, habits.flush_all, "false", "-F");
  set_if(typed.no_watch, habits.watch, "false", "-W");
  if (typed.user) set(habits.user, *typed.user, "-u");
  if (typed.pid_file) set(habits.pid_file, *typed.pid_file, "-P");
  if (typed.restart_file) set(habits.restart_file, *typed.restart_file, "-e");
  if (typed.auth_file) set(habits.auth_file, *typed.auth_file, "-Y");
  AddExtended(habits, typed, arguments);
  for (size_t i = 0; i < kIgnored.size(); ++i) {
    if (typed.ignored[i]->count() == 0) continue;
    arguments->warnings.push_back(
        absl::StrCat(Letter(kIgnored[i].name), ": ignored, ", kIgnored[i].why));
  }
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
  absl::Status status = CheckTyped(habits, typed);
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
