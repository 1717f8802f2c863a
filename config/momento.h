// [momento] and [[cache]]: how the proxy reaches Momento, and what each cache promises.
#pragma once

#include <array>

#include "config/knob.h"

namespace config {

// One account and how to reach it.
struct Momento {
  enum class Tls : uint8_t { kAuto, kOn, kOff };
  static constexpr std::array<absl::string_view, 3> kTls = {"auto", "on", "off"};

  std::string api_key;            // Empty: environment variable MOMENTO_API_KEY.
  std::string endpoint;           // Empty: MOMENTO_ENDPOINT, or the key's own.
  std::string endpoint_override;  // host:port of a local server, for both planes.
  Tls tls = Tls::kAuto;
  std::string ca_file;
  absl::Duration connect_timeout = absl::Seconds(5);
  // The intervals Momento's own SDKs use; the service tolerates them.
  absl::Duration keepalive_interval = absl::Seconds(5);
  absl::Duration keepalive_timeout = absl::Seconds(1);

  template <class V>
  void Visit(V& v) {
    v.Secret("api_key", &api_key,
             "Momento API key (v1, v2 or legacy); empty reads MOMENTO_API_KEY");
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
  }
};

// One Momento cache behind one memcache listener.
struct Cache {
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

  std::string host = "127.0.0.1";
  uint16_t port = 11211;
  std::string cache_name;
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

  template <class V>
  void Visit(V& v) {
    v.Text("host", &host, "address to listen on for memcache clients");
    v.Port("port", &port, "port to listen on; 0 picks a free one and logs it");
    v.Text("cache_name", &cache_name, "name of the Momento cache; required");
    v.Ttl("default_ttl", &default_ttl, absl::Milliseconds(1), absl::Seconds(4294967),
          "life of an item stored with exptime 0, which Momento cannot keep for ever");
    v.Ttl("max_ttl", &max_ttl, absl::Milliseconds(1), absl::Hours(24 * 365 * 10),
          "longest life the service accepts; a longer one is shortened to it and counted");
    v.Int("connections", &connections, 1, 1024,
          "connections to the service, spread over the workers; each has at least one");
    v.Choice("envelope", &envelope, kEnvelopes, "how flags travel with a value");
    v.Choice("reads", &reads, kReads, "read concern of the service: balanced or consistent");
    v.Choice("writes", &writes, kWrites,
             "exact sends every write through the conditional calls; plain uses Set and suits "
             "caches that only get, set and delete");
    v.Choice("get_error", &get_error, kGetErrors,
             "what a get answers when the backend fails: a miss or SERVER_ERROR");
    v.Choice("delete", &delete_reply, kDeleteReplies,
             "exact asks whether the key existed, fast always answers DELETED");
    v.Bool("flush_all", &flush_all, "let clients flush the whole Momento cache");
    v.Duration("deadline", &deadline, absl::Milliseconds(1), absl::Minutes(10),
               "how long the backend may take for one command");
    v.Int("update_attempts", &update_attempts, 1, 1000,
          "rounds of read and conditional write before incr, decr, append or prepend gives up");
    v.Choice("batch", &batch, kBatches,
             "which gets that arrive together share one GetBatch call: none, those of one "
             "connection, or all of a worker's turn");
    v.Int("batch_keys_max", &batch_keys_max, 2, 1000, "keys in one GetBatch call");
  }
};

}  // namespace config
