#include "tools/load/options.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "tools/load/value.h"

namespace tools::load {
namespace {

// Depth where none is given. In an open loop it only bounds memory: arrivals that find no room wait,
// and their clock runs.
constexpr int kClosedDepth = 1;
constexpr int kOpenDepth = 1024;

// Flags whose text is read after CLI11 is done.
struct Typed {
  std::string dialect = "text";
  std::string mix = "get";
  std::string key_prefix = "key:";
  uint64_t keys = 10'000;
  std::string key_bytes = "20";
  std::string value_bytes = "64";
  std::string ttl = "0";
  std::string arrivals = "poisson";
};

void DefineServer(CLI::App* app, Options* o) {
  const char* const group = "Server";
  app->add_option("--host", o->host, "name or address")->group(group);
  app->add_option("-p,--port", o->port, "TCP port")->group(group);
  app->add_option("-s,--socket", o->socket, "unix socket, instead of host and port")->group(group);
  app->add_option("--pid", o->pid, "report this process' CPU per request and resident memory")
      ->check(CLI::PositiveNumber)
      ->group(group);
}

void DefineLoop(CLI::App* app, Options* o, Typed* typed) {
  const char* const group = "Loop";
  app->add_option("-t,--threads", o->threads, "threads")->check(CLI::Range(1, 128))->group(group);
  app->add_option("-c,--connections", o->connections, "connections over all threads")
      ->check(CLI::Range(1, 100'000))
      ->group(group);
  app->add_option("-d,--depth", o->depth,
                  "most requests in flight on a connection (1; 1024 in an open loop)")
      ->check(CLI::Range(1, 65'536))
      ->group(group);
  app->add_option("-r,--rate", o->rate,
                  "open loop: requests a second, whether the server keeps up or not")
      ->check(CLI::Range(0.001, 1e9))
      ->group(group);
  app->add_option("--arrivals", typed->arrivals, "open loop: poisson or even")
      ->check(CLI::IsMember({"poisson", "even"}))
      ->group(group);
  auto* const seconds = app->add_option("--duration", o->seconds, "seconds to measure")
                            ->check(CLI::Range(0.001, 1e7))
                            ->group(group);
  app->add_option("-n,--requests", o->requests, "requests to send, instead of a duration")
      ->check(CLI::PositiveNumber)
      ->excludes(seconds)
      ->group(group);
  app->add_option("--warmup", o->warmup_seconds, "seconds of the same load before measuring")
      ->check(CLI::Range(0.0, 1e7))
      ->group(group);
  app->add_option("--timeout", o->timeout_seconds, "give up when the server says nothing this long")
      ->check(CLI::Range(0.01, 1e7))
      ->group(group);
}

void DefineTraffic(CLI::App* app, Options* o, Typed* typed) {
  const char* const group = "Traffic";
  app->add_option("--mix", typed->mix,
                  "commands and weights, NAME[*KEYS][-noreply][:WEIGHT],...; get:90,set:10")
      ->group(group);
  app->add_option("--dialect", typed->dialect,
                  "text, meta or binary; the latter two with get, get*KEYS and set alone")
      ->check(CLI::IsMember({"text", "meta", "binary"}))
      ->group(group);
  app->add_option("--keys", typed->keys, "how many keys there are")->group(group);
  app->add_option("--key-order", o->key_order,
                  "uniform, zipf:ALPHA, sequential, or hot:KEYS:SHARE of the requests")
      ->group(group);
  app->add_option("--key-prefix", typed->key_prefix, "what keys begin with")->group(group);
  app->add_option("--key-bytes", typed->key_bytes, "length of a key: N or A-B")->group(group);
  app->add_option("--value-bytes", typed->value_bytes,
                  "length of a value: N, A-B, lognormal:MEDIAN:SIGMA[:MAX], or N:WEIGHT,...")
      ->group(group);
  app->add_option("--ttl", typed->ttl, "exptime, in the same forms; 0 is never")->group(group);
  app->add_option("--flags", o->flags, "flags of the items")->group(group);
  app->add_flag("--preload", o->preload, "store every key before the load");
  app->add_flag("--verify", o->verify, "check every value that is read")->group(group);
  app->add_option("--seed", o->seed, "equal seeds ask for equal things")->group(group);
}

void DefineOutput(CLI::App* app, Options* o) {
  const char* const group = "Output";
  app->add_flag("--progress", o->progress, "a line each second on stderr, even if no terminal")
      ->group(group);
  app->add_flag("--json", o->json, "the report as one line of JSON")->group(group);
}

absl::Status Named(const char* flag, const absl::Status& status) {
  return absl::OutOfRangeError(absl::StrCat(flag, ": ", status.message()));
}

#define ASSIGN_FLAG(flag, lhs, expr)                       \
  do {                                                     \
    auto parsed = (expr);                                  \
    if (!parsed.ok()) return Named(flag, parsed.status()); \
    lhs = *std::move(parsed);                              \
  } while (false)

absl::Status Interpret(const Typed& typed, Options* o) {
  Numbers key_bytes;
  ASSIGN_FLAG("--mix", o->mix, Mix::Parse(typed.mix));
  ASSIGN_FLAG("--key-bytes", key_bytes, Numbers::Parse(typed.key_bytes));
  ASSIGN_FLAG("--value-bytes", o->value_bytes, Numbers::Parse(typed.value_bytes));
  ASSIGN_FLAG("--ttl", o->ttl, Numbers::Parse(typed.ttl));
  ASSIGN_FLAG("--keys", o->keys, KeySpace::Create(typed.key_prefix, typed.keys, key_bytes));
  if (o->mix.Has(IsArithmetic)) {
    ASSIGN_FLAG("--keys", o->counters,
                KeySpace::Create(absl::StrCat("#", typed.key_prefix), typed.keys, key_bytes));
  }
  const absl::StatusOr<KeyOrder> order = KeyOrder::Parse(o->key_order, typed.keys);
  if (!order.ok()) return Named("--key-order", order.status());
  if (typed.dialect != "text") {
    o->dialect = typed.dialect == "meta" ? Dialect::kMeta : Dialect::kBinary;
    for (const Command& command : o->mix.commands()) {
      if ((command.verb != Verb::kGet && command.verb != Verb::kSet) || command.noreply) {
        return absl::OutOfRangeError(absl::StrCat("--mix: ", command.name(), " is spoken in text only"));
      }
    }
  }
  const bool appends = o->mix.Has(
      [](Verb verb) { return verb == Verb::kAppend || verb == Verb::kPrepend; });
  if (appends && o->verify && o->value_bytes.min() < static_cast<int64_t>(Values::kHeaderBytes)) {
    return absl::OutOfRangeError(absl::StrCat("--value-bytes: append and prepend can be verified "
                                              "from ", Values::kHeaderBytes, " bytes on"));
  }
  if (o->threads > o->connections) {
    return absl::OutOfRangeError("--threads: more than --connections");
  }
  o->even_arrivals = typed.arrivals == "even";
  if (o->depth == 0) o->depth = o->open_loop() ? kOpenDepth : kClosedDepth;
  return absl::OkStatus();
}

#undef ASSIGN_FLAG

}  // namespace

absl::StatusOr<CommandLine> ParseFlags(int argc, const char* const* argv) {
  CommandLine out;
  Typed typed;
  CLI::App app("Puts memcached's protocols under load and measures.", "load_gen");
  DefineServer(&app, &out.options);
  DefineLoop(&app, &out.options, &typed);
  DefineTraffic(&app, &out.options, &typed);
  DefineOutput(&app, &out.options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out.help = app.help();
    return out;
  } catch (const CLI::ParseError& error) {
    return absl::OutOfRangeError(error.what());
  }
  RETURN_IF_ERROR(Interpret(typed, &out.options));
  return out;
}

}  // namespace tools::load
