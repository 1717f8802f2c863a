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

constexpr std::array<absl::string_view, 3> kSections = {"proxy", "debug", "klog"};
constexpr std::array<absl::string_view, 7> kCacheKeys = {
    "connection_count",         "flags",       "protocol",        "memory_cache_bytes",
    "memory_cache_ttl_seconds", "buffer_size", "primary_endpoint"};
// Keys that were read and then not looked at, or whose machinery is not here.
constexpr std::array<absl::string_view, 6> kAdminKeys = {"timeout", "nevent",   "tw_tick",
                                                         "tw_cap",  "tw_ntick", "use_tls"};
constexpr std::array<absl::string_view, 4> kNearCacheKeys = {
    "memory_cache_bytes", "memory_cache_ttl_seconds", "buffer_size", "primary_endpoint"};
constexpr std::array<absl::string_view, 5> kDebugKeys = {
    "log_backup", "log_max_size", "log_single_message_size", "log_rotation_interval",
    "log_max_keep_files"};
constexpr std::array<absl::string_view, 8> kKlogKeys = {"file",
                                                        "backup",
                                                        "interval",
                                                        "max_size",
                                                        "max_keep_files",
                                                        "queue_depth",
                                                        "single_message_size",
                                                        "sample"};
constexpr std::array<absl::string_view, 2> kPollKeys = {"timeout", "nevent"};

// One rewrite of one file.
class Modernizer {
 public:
  Modernizer(Node* root, std::vector<std::string>* warnings) : root_(root), warnings_(warnings) {}

  absl::Status Proxy();
  absl::Status Server();

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
  void Debug();
  absl::Status Klog();
  absl::Status CacheEntry(const std::string& path, Node* cache);
  absl::Status Flags(const std::string& path, Node* cache);
  absl::Status Protocol(const std::string& path, Node* cache);
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

void Modernizer::Debug() {
  Move("debug", "log_level", "log", "level");
  Move("debug", "log_file", "log", "file");
  Move("debug", "log_queue_depth", "log", "queue_lines");
  if (Node* log = Section("log")) {
    Node* level = log->Find("level");
    if (level != nullptr && level->kind == Kind::kString && !level->spelled.empty()) {
      std::transform(level->text.begin(), level->text.end(), level->text.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      if (level->text == "warn") level->text = "warning";
    }
  }
  Drop(Section("debug"), "debug", kDebugKeys,
       "ignored: the log is not rotated here (SIGHUP reopens it)");
  EraseIfEmpty("debug");
}

absl::Status Modernizer::Klog() {
  Node* klog = Section("klog");
  if (klog == nullptr) return absl::OkStatus();
  for (const auto& [key, value] : klog->children) {
    if (std::find(kKlogKeys.begin(), kKlogKeys.end(), key) == kKlogKeys.end()) {
      return Complaint(value.place, absl::StrCat("klog.", key), "unknown key");
    }
  }
  Drop(klog, "klog", kKlogKeys, "ignored: the command log is not written yet");
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
  Drop(cache, path, kNearCacheKeys, "ignored: has no counterpart here yet");
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
  if (absl::Status status = Klog(); !status.ok()) return status;
  Drop(Section("admin"), "admin", kAdminKeys, "ignored: has no effect here");
  Node* caches = root_->Find("cache");
  if (caches == nullptr || caches->kind != Kind::kArray) return absl::OkStatus();
  for (size_t i = 0; i < caches->items.size(); ++i) {
    absl::Status status = CacheEntry(absl::StrCat("cache[", i, "]"), &caches->items[i]);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Modernizer::Server() {
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
  return Klog();
}

}  // namespace

absl::Status ModernizeProxy(Node* root, std::vector<std::string>* warnings) {
  return Modernizer(root, warnings).Proxy();
}

absl::Status ModernizeServer(Node* root, std::vector<std::string>* warnings) {
  return Modernizer(root, warnings).Server();
}

}  // namespace config
