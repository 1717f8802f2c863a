#include "config/predecessor.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "config/momento.h"
#include "config/reader.h"
#include "config/units.h"

namespace config {
namespace {

using Kind = Node::Kind;
using Keys = absl::Span<const absl::string_view>;

constexpr std::array<absl::string_view, 2> kSections = {"proxy", "debug"};
constexpr std::array<absl::string_view, 7> kCacheKeys = {
    "connection_count",         "flags",       "protocol",        "memory_cache_bytes",
    "memory_cache_ttl_seconds", "buffer_size", "primary_endpoint"};
// Keys that were read and then not looked at, or whose machinery is not here.
constexpr std::array<absl::string_view, 6> kAdminKeys = {"timeout", "nevent",   "tw_tick",
                                                         "tw_cap",  "tw_ntick", "use_tls"};
constexpr std::array<absl::string_view, 2> kIdleCacheKeys = {"buffer_size", "primary_endpoint"};
constexpr std::array<absl::string_view, 3> kDebugKeys = {
    "log_single_message_size", "log_rotation_interval", "log_max_keep_files"};
constexpr std::array<absl::string_view, 3> kKlogKeys = {"queue_depth", "single_message_size",
                                                        "max_keep_files"};
constexpr std::array<absl::string_view, 2> kKlogIdleKeys = {"single_message_size",
                                                            "max_keep_files"};
constexpr std::array<absl::string_view, 8> kKlogAllKeys = {
    "file",           "backup",      "interval",            "max_size",
    "max_keep_files", "queue_depth", "single_message_size", "sample"};
constexpr int64_t kLogBytesMax = kGB;  // log_max_size, where a file did not say.
constexpr int64_t kQueueLinesMin = 16, kQueueLinesMax = 1 << 20;  // config::Log, config::Klog.
constexpr int64_t kNearBytesMin = 256 * kKB, kNearSecondsMax = 24 * 3600;  // config::Cache.
constexpr std::array<absl::string_view, 2> kPollKeys = {"timeout", "nevent"};

// One rewrite of one file.
class Modernizer {
 public:
  Modernizer(Node* root, std::vector<std::string>* warnings) : root_(root), warnings_(warnings) {}

  absl::Status Proxy();
  absl::Status Server(bool has_klog);

 private:
  Node* Section(absl::string_view name) {
    Node* node = root_->Find(name);
    return node != nullptr && node->kind == Kind::kTable ? node : nullptr;
  }
  Node* SectionMade(absl::string_view name, const Place& place);

  const Node* Sign();  // The value that shows the style, or null. Sets sign_.
  void Move(absl::string_view from, absl::string_view key, absl::string_view to,
            absl::string_view new_key);
  void Drop(Node* table, absl::string_view section, Keys keys, absl::string_view why);
  void EraseIfEmpty(absl::string_view section);
  void FitQueue(absl::string_view section);
  void Debug();
  void Klog();
  void KlogInterval(Node* klog);
  absl::Status NoKlog();
  absl::Status CacheEntry(const std::string& path, Node* cache);
  absl::Status Flags(const std::string& path, Node* cache);
  absl::Status Protocol(const std::string& path, Node* cache);
  void NearCache(const std::string& path, Node* cache);
  void LiftMaxTtl(const std::string& path, Node* cache);
  void Warn(const Place& place, absl::string_view path, absl::string_view what) {
    warnings_->push_back(std::string(Complaint(place, path, what).message()));
  }

  Node* const root_;
  std::vector<std::string>* const warnings_;
  std::string sign_;
};

Node* Modernizer::SectionMade(absl::string_view name, const Place& place) {
  if (Node* node = root_->Find(name)) return node;
  Node made;
  made.place = place;
  return root_->Put(name, std::move(made));
}

const Node* Modernizer::Sign() {
  for (const absl::string_view name : kSections) {
    if (const Node* node = Section(name)) {
      sign_ = absl::StrCat("[", name, "]");
      return node;
    }
  }
  if (const Node* klog = Section("klog")) {
    const Node* interval = klog->Find("interval");
    if (interval != nullptr && interval->kind == Kind::kInteger) {
      sign_ = "klog.interval without a unit";
      return interval;
    }
    for (const auto& [key, value] : klog->children) {
      if (std::find(kKlogKeys.begin(), kKlogKeys.end(), key) == kKlogKeys.end()) continue;
      sign_ = absl::StrCat("klog.", key);
      return &value;
    }
  }
  const Node* admin = Section("admin");
  const Node* admin_port = admin == nullptr ? nullptr : admin->Find("port");
  if (admin_port != nullptr && admin_port->kind == Kind::kString) {
    sign_ = "admin.port in quotes";
    return admin_port;
  }
  const Node* caches = root_->Find("cache");
  if (caches == nullptr || caches->kind != Kind::kArray) return nullptr;
  for (size_t i = 0; i < caches->items.size(); ++i) {
    for (const auto& [key, value] : caches->items[i].children) {
      const bool quoted_port = key == "port" && value.kind == Kind::kString;
      const bool known = std::find(kCacheKeys.begin(), kCacheKeys.end(), key) != kCacheKeys.end();
      if (!quoted_port && !known) continue;
      sign_ = absl::StrCat("cache[", i, "].", key, quoted_port ? " in quotes" : "");
      return &value;
    }
  }
  return nullptr;
}

void Modernizer::Move(absl::string_view from, absl::string_view key, absl::string_view to,
                      absl::string_view new_key) {
  Node* source = Section(from);
  if (source == nullptr || source->Find(key) == nullptr) return;
  Node value = source->Take(key);
  value.spelled = absl::StrCat(from, ".", key);
  Node* target = SectionMade(to, value.place);
  if (target->kind == Kind::kTable && target->Find(new_key) == nullptr) {
    target->Put(new_key, std::move(value));
  } else {
    Warn(value.place, value.spelled, absl::StrCat("ignored, ", to, ".", new_key, " is set"));
  }
}

void Modernizer::Drop(Node* table, absl::string_view section, Keys keys, absl::string_view why) {
  if (table == nullptr) return;
  for (const absl::string_view key : keys) {
    if (const Node* node = table->Find(key)) {
      Warn(node->place, absl::StrCat(section, ".", key), why);
      table->Erase(key);
    }
  }
}

// A section all of whose keys were understood goes; what is left in one is refused by the reader.
void Modernizer::EraseIfEmpty(absl::string_view section) {
  const Node* node = Section(section);
  if (node != nullptr && node->children.empty()) root_->Erase(section);
}

// Any depth was fine there.
void Modernizer::FitQueue(absl::string_view section) {
  Node* table = Section(section);
  Node* lines = table == nullptr ? nullptr : table->Find("queue_lines");
  if (lines == nullptr || lines->spelled.empty() || lines->kind != Kind::kInteger) return;
  const int64_t fit = std::clamp(lines->integer, kQueueLinesMin, kQueueLinesMax);
  if (fit != lines->integer) Warn(lines->place, lines->spelled, absl::StrCat("taken as ", fit));
  lines->integer = fit;
}

void Modernizer::Debug() {
  const Node* debug = Section("debug");
  const Node* file = debug == nullptr ? nullptr : debug->Find("log_file");
  const bool to_file = file != nullptr && (file->kind != Kind::kString || !file->text.empty());
  const Place place = file == nullptr ? Place() : file->place;
  Move("debug", "log_level", "log", "level");
  Move("debug", "log_file", "log", "file");
  Move("debug", "log_queue_depth", "log", "queue_lines");
  Move("debug", "log_max_size", "log", "max_size");
  Move("debug", "log_backup", "log", "backup");
  FitQueue("log");
  if (Node* log = Section("log"); to_file && log != nullptr && log->Find("max_size") == nullptr) {
    Node max_size;
    max_size.kind = Kind::kInteger;
    max_size.place = place;
    max_size.integer = kLogBytesMax;
    log->Put("max_size", std::move(max_size));
  }
  if (Node* log = Section("log")) {
    Node* level = log->Find("level");
    if (level != nullptr && level->kind == Kind::kString && !level->spelled.empty()) {
      std::transform(level->text.begin(), level->text.end(), level->text.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      if (level->text == "warn") level->text = "warning";
    }
  }
  Drop(Section("debug"), "debug", kDebugKeys, "ignored: has no effect here");
  EraseIfEmpty("debug");
}

void Modernizer::KlogInterval(Node* klog) {
  Node* interval = klog->Find("interval");
  if (interval == nullptr || interval->kind != Kind::kInteger || interval->integer < 0) return;
  interval->kind = Kind::kString;
  interval->text = absl::StrCat(std::max<int64_t>(interval->integer, 1), "ms");
}

void Modernizer::Klog() {
  Node* klog = Section("klog");
  if (klog == nullptr) return;
  KlogInterval(klog);
  Move("klog", "queue_depth", "klog", "queue_lines");
  FitQueue("klog");
  Drop(Section("klog"), "klog", kKlogIdleKeys, "ignored: has no effect here");
}

// For a product that never had commands worth a log.
absl::Status Modernizer::NoKlog() {
  Node* klog = Section("klog");
  if (klog == nullptr) return absl::OkStatus();
  for (const auto& [key, value] : klog->children) {
    if (std::find(kKlogAllKeys.begin(), kKlogAllKeys.end(), key) == kKlogAllKeys.end()) {
      return Complaint(value.place, absl::StrCat("klog.", key), "unknown key");
    }
  }
  Drop(klog, "klog", kKlogAllKeys, "ignored: there is no command log here");
  EraseIfEmpty("klog");
  return absl::OkStatus();
}

absl::Status Modernizer::Flags(const std::string& path, Node* cache) {
  const Node* flags = cache->Find("flags");
  if (flags != nullptr && flags->kind != Kind::kBool) {
    return Complaint(flags->place, path + ".flags", "expected true or false");
  }
  const bool prefix = flags == nullptr || flags->boolean;
  if (cache->Find("envelope") != nullptr) {
    if (flags != nullptr) Warn(flags->place, path + ".flags", "ignored, envelope is set");
  } else {
    Node envelope;
    envelope.kind = Kind::kString;
    envelope.place = flags == nullptr ? cache->place : flags->place;
    envelope.text = prefix ? "flags4" : "raw";
    cache->Put("envelope", std::move(envelope));
  }
  cache->Erase("flags");
  return absl::OkStatus();
}

absl::Status Modernizer::Protocol(const std::string& path, Node* cache) {
  const Node* protocol = cache->Find("protocol");
  if (protocol == nullptr) return absl::OkStatus();
  if (protocol->kind != Kind::kString || protocol->text != "memcache") {
    const std::string got =
        protocol->kind == Kind::kString ? absl::StrCat("\"", protocol->text, "\"") : "this value";
    return Complaint(protocol->place, path + ".protocol",
                     absl::StrCat(got, " is not supported, expected \"memcache\""));
  }
  cache->Erase("protocol");
  return absl::OkStatus();
}

// That proxy knew no longest life, so its default_ttl may lie past our default for max_ttl.
void Modernizer::LiftMaxTtl(const std::string& path, Node* cache) {
  const Node* ttl = cache->Find("default_ttl");
  if (ttl == nullptr || ttl->kind != Kind::kInteger || cache->Find("max_ttl") != nullptr) return;
  // Past 2^31 seconds the reader refuses it anyway.
  if (ttl->integer > INT32_MAX || absl::Seconds(ttl->integer) <= Cache{}.max_ttl) return;
  Warn(ttl->place, path + ".default_ttl",
       absl::StrCat("max_ttl is raised to it, ", SpellDuration(absl::Seconds(ttl->integer)),
                    "; the service may keep items for less"));
  Node max = *ttl;
  cache->Put("max_ttl", std::move(max));
}

// Any size was fine there, and any number of seconds.
void Modernizer::NearCache(const std::string& path, Node* cache) {
  const auto move = [&](absl::string_view from, absl::string_view to, int64_t least, int64_t most) {
    if (cache->Find(from) == nullptr) return;
    Node value = cache->Take(from);
    value.spelled = absl::StrCat(path, ".", from);
    if (cache->Find(to) != nullptr) {
      return Warn(value.place, value.spelled, absl::StrCat("ignored, ", to, " is set"));
    }
    if (value.kind == Kind::kInteger && value.integer > 0) {
      const int64_t fit = std::clamp(value.integer, least, most);
      if (fit != value.integer) Warn(value.place, value.spelled, absl::StrCat("taken as ", fit));
      value.integer = fit;
    }
    cache->Put(to, std::move(value));
  };
  move("memory_cache_bytes", "near_size", kNearBytesMin, INT64_MAX);
  move("memory_cache_ttl_seconds", "near_staleness", 1, kNearSecondsMax);
  Node* staleness = cache->Find("near_staleness");
  if (staleness == nullptr || staleness->kind != Kind::kInteger || staleness->spelled.empty()) return;
  staleness->kind = Kind::kString;
  staleness->text = absl::StrCat(staleness->integer, "s");
}

absl::Status Modernizer::CacheEntry(const std::string& path, Node* cache) {
  if (cache->kind != Kind::kTable) return absl::OkStatus();  // The reader refuses it.
  if (const Node* count = cache->Find("connection_count")) {
    if (cache->Find("connections") != nullptr) {
      Warn(count->place, path + ".connection_count", "ignored, connections is set");
      cache->Erase("connection_count");
    } else {
      Node value = cache->Take("connection_count");
      value.spelled = path + ".connection_count";
      cache->Put("connections", std::move(value));
    }
  }
  if (absl::Status status = Protocol(path, cache); !status.ok()) return status;
  if (absl::Status status = Flags(path, cache); !status.ok()) return status;
  LiftMaxTtl(path, cache);
  NearCache(path, cache);
  Drop(cache, path, kIdleCacheKeys, "ignored: has no counterpart here yet");
  return absl::OkStatus();
}

absl::Status Modernizer::Proxy() {
  const Node* sign = Sign();
  if (sign == nullptr) return absl::OkStatus();
  Warn(sign->place, "",
       absl::StrCat(sign_,
                    ": read as a file of Momento's own proxy; envelope is \"flags4\" where "
                    "no other is given"));
  Move("proxy", "threads", "server", "workers");
  EraseIfEmpty("proxy");
  Debug();
  Klog();
  Drop(Section("admin"), "admin", kAdminKeys, "ignored: has no effect here");
  Node* caches = root_->Find("cache");
  if (caches == nullptr || caches->kind != Kind::kArray) return absl::OkStatus();
  for (size_t i = 0; i < caches->items.size(); ++i) {
    absl::Status status = CacheEntry(absl::StrCat("cache[", i, "]"), &caches->items[i]);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Modernizer::Server(bool has_klog) {
  const bool worker = Section("worker") != nullptr;
  Move("server", "host", "listen", "host");
  Move("server", "port", "listen", "port");
  Move("worker", "threads", "server", "workers");
  Drop(Section("worker"), "worker", kPollKeys, "ignored: has no effect here");
  EraseIfEmpty("worker");
  if (worker || Section("debug") != nullptr || Section("klog") != nullptr) {
    Drop(Section("server"), "server", kPollKeys, "ignored: has no effect here");
    // use_tls was a promise in these products, so it is left for the reader to refuse.
    Drop(Section("admin"), "admin", Keys(kAdminKeys).subspan(0, 5), "ignored: has no effect here");
  }
  Debug();
  if (!has_klog) return NoKlog();
  Klog();
  return absl::OkStatus();
}

}  // namespace

absl::Status ModernizeProxy(Node* root, std::vector<std::string>* warnings) {
  return Modernizer(root, warnings).Proxy();
}

absl::Status ModernizeSegcache(Node* root, std::vector<std::string>* warnings) {
  return Modernizer(root, warnings).Server(true);
}

absl::Status ModernizePingserver(Node* root, std::vector<std::string>* warnings) {
  return Modernizer(root, warnings).Server(false);
}

}  // namespace config
