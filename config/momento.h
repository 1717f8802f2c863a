// [momento] and [[cache]]: how the proxy reaches Momento, and what each cache promises.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "config/attempts.h"
#include "config/knob.h"
#include "config/overload.h"
#include "config/server.h"

namespace config {

// One account and how to reach it.
struct Momento {
  enum class Tls : uint8_t { kAuto, kOn, kOff };
  static constexpr std::array<absl::string_view, 3> kTls = {"auto", "on", "off"};
  // Each includes the ones before it.
  enum class StartupCheck : uint8_t { kOff, kPing, kKey, kCaches };
  static constexpr std::array<absl::string_view, 4> kStartupChecks = {"off", "ping", "key",
                                                                      "caches"};

  std::string api_key;            // Empty: environment variable MOMENTO_API_KEY.
  std::string api_key_file;       // Wins over the environment.
  // A kubelet takes up to a minute to show a changed Secret: ten seconds add little to that.
  absl::Duration key_poll_interval = absl::Seconds(10);
  std::string endpoint;           // Empty: MOMENTO_ENDPOINT, or the key's own.
  std::string endpoint_override;  // host:port of a local server, for both planes.
  Tls tls = Tls::kAuto;
  std::string ca_file;
  absl::Duration connect_timeout = absl::Seconds(5);
  // The intervals Momento's own SDKs use; the service tolerates them.
  absl::Duration keepalive_interval = absl::Seconds(5);
  absl::Duration keepalive_timeout = absl::Seconds(1);
  // How soon gRPC's resolver would ask again at the earliest (GRPC_ARG_DNS_MIN_TIME_BETWEEN_...).
  absl::Duration resolve_interval = absl::Seconds(30);
  StartupCheck startup_check = StartupCheck::kOff;
  absl::Duration startup_timeout = absl::Seconds(10);
  bool create_missing_caches = false;
  bool core_dumps = false;

  template <class V>
  void Visit(V& v) {
    v.Secret("api_key", &api_key,
             "Momento API key (v1, v2 or legacy); empty reads MOMENTO_API_KEY");
    v.Text("api_key_file", &api_key_file,
           "file that holds the API key instead; a changed key is checked, then used");
    v.Duration("key_poll_interval", &key_poll_interval, absl::Milliseconds(10), absl::Hours(1),
               "how often key files and the time until a key expires are looked at");
    v.Text("endpoint", &endpoint,
           "Momento endpoint, needed with a v2 key; empty reads MOMENTO_ENDPOINT");
    v.Text("endpoint_override", &endpoint_override,
           "host:port of a Momento-compatible server to use instead of the key's endpoint");
    v.Choice("tls", &tls, kTls,
             "TLS to the service; auto means on, and off with endpoint_override");
    v.Text("ca_file", &ca_file, "PEM file of trusted roots; empty means the system's");
    v.Duration("connect_timeout", &connect_timeout, absl::Milliseconds(1), absl::Minutes(5),
               "how long a connection to the service may take to open");
    v.Duration("keepalive_interval", &keepalive_interval, absl::Milliseconds(100), absl::Hours(1),
               "how often an idle connection is pinged");
    v.Duration("keepalive_timeout", &keepalive_timeout, absl::Milliseconds(10), absl::Minutes(1),
               "how long a ping may go unanswered before the connection is replaced");
    v.Duration("resolve_interval", &resolve_interval, absl::Milliseconds(100), absl::Hours(24),
               "how often the service's name is looked up again; a connection to an address that two "
               "answers in a row are without is replaced");
    v.Choice("startup_check", &startup_check, kStartupChecks,
             "what must work before clients are served: nothing, a ping, a read of each cache "
             "with the key, or also the list of caches and their limits");
    v.Duration("startup_timeout", &startup_timeout, absl::Milliseconds(10), absl::Minutes(10),
               "how long that check may take, waiting for the service included");
    v.Bool("create_missing_caches", &create_missing_caches,
           "create the caches that are not there at start; checks as startup_check = \"caches\"");
    v.Bool("core_dumps", &core_dumps,
           "let a crash leave a core file, which holds the API key and cached values");
  }
};

// A prefix is shorter than the longest key (memcached doc/protocol.txt, "Keys": 250 bytes).
inline constexpr size_t kRoutePrefixMax = 249;

// Keys of a listener that another cache has: those that begin with the prefix.
struct Route {
  std::string prefix;
  std::string cache;
  bool strip = false;

  // What makes it the same route in two configurations.
  const std::string& Name() const { return prefix; }

  template <class V>
  void Visit(V& v) {
    v.Text("prefix", &prefix,
           "keys that begin so are another cache's; of several prefixes the longest counts");
    v.Text("cache", &cache, "the cache_name of the [[cache]] that has them");
    v.Bool("strip", &strip,
           "keep the prefix from that cache: its keys are what stands behind it, and clients see "
           "whole keys all the same; a key that is the prefix alone is not routed then");
  }
};

// One Momento cache behind one memcache listener. Without a listener (tcp off, no unix_socket) it is
// reached by the routes of others alone.
struct Cache : Listener, Attempts, Overload {
  enum class Envelope : uint8_t { kTransparent, kFlags4, kRaw, kNonce };
  static constexpr std::array<absl::string_view, 4> kEnvelopes = {"transparent", "flags4", "raw",
                                                                  "nonce"};
  enum class Reads : uint8_t { kBalanced, kConsistent };
  static constexpr std::array<absl::string_view, 2> kReads = {"balanced", "consistent"};
  enum class Writes : uint8_t { kExact, kPlain };
  static constexpr std::array<absl::string_view, 2> kWrites = {"exact", "plain"};
  enum class GetError : uint8_t { kMiss, kError };
  static constexpr std::array<absl::string_view, 2> kGetErrors = {"miss", "error"};
  enum class DeleteReply : uint8_t { kExact, kFast };
  static constexpr std::array<absl::string_view, 2> kDeleteReplies = {"exact", "fast"};
  enum class Batch : uint8_t { kOff, kConnection, kWorker };
  static constexpr std::array<absl::string_view, 3> kBatches = {"off", "connection", "worker"};
  enum class NoRoute : uint8_t { kOwn, kError };
  static constexpr std::array<absl::string_view, 2> kNoRoutes = {"own", "error"};

  // Kinds of call that may have a deadline of their own.
  enum class Kind : uint8_t { kRead, kWrite, kUpdate, kControl };
  static constexpr size_t kKinds = 4;

  Cache() { port = 11211; }

  // What makes it the same cache in two configurations.
  const std::string& Name() const { return cache_name; }

  // How long a call of that kind may take; of kControl without the time to connect, which a default
  // has on top.
  absl::Duration DeadlineOf(Kind kind) const {
    switch (kind) {
      case Kind::kRead: return read_deadline.value_or(deadline);
      case Kind::kWrite: return write_deadline.value_or(deadline);
      case Kind::kUpdate: return update_deadline.value_or(deadline);
      case Kind::kControl: return control_deadline.value_or(deadline);
    }
    return deadline;
  }

  std::string cache_name;
  bool server_tls = true;
  std::string auth_file;  // Empty: that of [server].
  // An account of its own; empty: that of [momento].
  std::string api_key;
  std::string api_key_file;
  std::string endpoint;
  absl::Duration default_ttl = absl::Hours(1);
  absl::Duration max_ttl = absl::Hours(24);  // The service's cap on on-demand caches.
  uint32_t connections = 4;                  // What Momento's own proxy opens.
  Envelope envelope = Envelope::kTransparent;
  Reads reads = Reads::kBalanced;
  Writes writes = Writes::kExact;
  GetError get_error = GetError::kMiss;
  DeleteReply delete_reply = DeleteReply::kExact;
  bool flush_all = false;
  absl::Duration deadline = absl::Seconds(1);
  uint32_t update_attempts = 16;
  Batch batch = Batch::kWorker;
  uint32_t batch_keys_max = 64;
  bool coalesce = true;
  uint64_t near_size = 0;  // Off.
  absl::Duration near_staleness = absl::Seconds(1);
  absl::Duration near_negative = absl::ZeroDuration();
  uint64_t near_value_max = 16 * kKB;
  absl::Duration near_stale = absl::ZeroDuration();
  NoRoute no_route = NoRoute::kOwn;
  bool route_flag = true;
  std::vector<Route> routes;

  template <class V>
  void Visit(V& v) {
    Listener::Visit(v);
    v.Text("cache_name", &cache_name, "name of the Momento cache; required");
    v.Bool("server_tls", &server_tls,
           "listen with the TLS of [server] if no certificate is named here");
    v.Text("auth_file", &auth_file,
           "file of user:password lines for this cache alone; empty means that of [server]");
    v.Secret("api_key", &api_key, "API key for this cache alone; empty means that of [momento]");
    v.Text("api_key_file", &api_key_file, "file that holds the API key for this cache alone");
    v.Text("endpoint", &endpoint,
           "Momento endpoint for this cache alone; empty means the key's own or that of [momento]");
    v.Ttl("default_ttl", &default_ttl, absl::Milliseconds(1), absl::Seconds(4294967),
          Live("life of an item stored with exptime 0, which Momento cannot keep for ever"));
    v.Ttl("max_ttl", &max_ttl, absl::Milliseconds(1), absl::Hours(24 * 365 * 10),
          Live("longest life the service accepts; a longer one is shortened to it and counted"));
    v.Int("connections", &connections, 1, 1024,
          "connections to the service, spread over the workers; each has at least one");
    v.Choice("envelope", &envelope, kEnvelopes, "how flags travel with a value");
    v.Choice("reads", &reads, kReads, "read concern of the service: balanced or consistent");
    v.Choice("writes", &writes, kWrites,
             "exact sends every write through the conditional calls; plain uses Set and suits "
             "caches that only get, set and delete");
    v.Choice("get_error", &get_error, kGetErrors,
             Live("what a get answers when the backend fails: a miss or SERVER_ERROR"));
    v.Choice("delete", &delete_reply, kDeleteReplies,
             Live("exact asks whether the key existed, fast always answers DELETED"));
    v.Bool("flush_all", &flush_all, Live("let clients flush the whole Momento cache"));
    v.Duration("deadline", &deadline, absl::Milliseconds(1), absl::Minutes(10),
               Live("how long the backend may take for one command"));
    Attempts::Visit(v);
    v.Int("update_attempts", &update_attempts, 1, 1000,
          Live("rounds of read and conditional write before incr, decr, append or prepend gives up"));
    v.Choice("batch", &batch, kBatches,
             Live("which gets, and which sets with writes plain, that arrive together share one GetBatch "
             "or SetBatch call: none, those of one connection, or all of a worker's turn"));
    v.Int("batch_keys_max", &batch_keys_max, 2, 1000, Live("keys in one GetBatch or SetBatch call"));
    v.Bool("coalesce", &coalesce,
           Live("let gets of one key on a worker share a call; with reads consistent only one that has "
           "not left yet"));
    v.Size("near_size", &near_size, 0, 1024 * kGB,
           "bytes of the near cache, copies of items in this process; 0 is off, else 256KB at least");
    v.Duration("near_staleness", &near_staleness, absl::Milliseconds(1), absl::Hours(24),
               Live("how long a copy may be answered from, whatever others write meanwhile"));
    v.Duration("near_negative", &near_negative, absl::ZeroDuration(), absl::Hours(24),
               Live("how long a miss may be answered likewise; 0s asks each time"));
    v.Size("near_value_max", &near_value_max, 0, 8 * kMB, Live("longest value that is copied"));
    v.Duration("near_stale", &near_stale, absl::ZeroDuration(), absl::Hours(24),
               "while the backend fails, how long past near_staleness a copy may be answered from, "
               "if the life of its item is known and has not ended; 0s is never");
    Overload::Visit(v);
    v.Choice("no_route", &no_route, kNoRoutes,
             "whose keys are that no route of this listener has: this cache's own, or nobody's, "
             "which is SERVER_ERROR");
    v.Bool("route_flag", &route_flag,
           "whether the L flag of a meta command, if it names a cache of this listener, chooses it; "
           "such a key is passed on whole");
    v.List("route", &routes, "a key prefix that this listener hands on to another cache");
  }
};

}  // namespace config
