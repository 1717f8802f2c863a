// What was written, before anyone knows what it should have been: a tree of values, each with the
// place it came from. TOML files, --set and command-line letters all become one of these.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace config {

// Where a value was written.
struct Place {
  std::string name;   // "proxy.toml", "--set", "-p"; empty for a default.
  uint32_t line = 0;  // 0: not a file.

  // "proxy.toml:12", "--set".
  std::string Text() const;
};

struct Child;

struct Node {
  enum class Kind : uint8_t {
    kTable,
    kArray,
    kString,
    kInteger,
    kFloat,
    kBool,
    kOther,  // TOML has dates too; no knob does.
    kBare,   // From a command line: `text` may still mean any scalar.
  };

  Kind kind = Kind::kTable;
  Place place;
  std::string spelled;  // The key as the file spells it, when it was moved here; else empty.
  std::string text;     // kString, kBare.
  int64_t integer = 0;
  double real = 0;
  bool boolean = false;
  std::vector<Child> children;  // kTable, in order of lines.
  std::vector<Node> items;      // kArray.

  // The child of that name, or null. The pointer dies with the next change of the table.
  Node* Find(absl::string_view key);
  const Node* Find(absl::string_view key) const;
  Node* Put(absl::string_view key, Node child);  // Replaces one of the same name.
  void Erase(absl::string_view key);
  Node Take(absl::string_view key);  // REQUIRES: Find(key).
};

struct Child {
  std::string name;
  Node node;
};

// One key=value that was not in the file.
struct Override {
  std::string path;   // "server.workers", "cache.0.port" or "cache[0].port"
  std::string value;  // As typed; TOML quotes are welcome and not needed.
  std::string place;  // "--set", "-p": what an error line names.
};

// Puts `set` into the tree `root`, replacing what is there. An index one past the end of a list
// appends to it.
absl::Status Apply(const Override& set, Node* root);

// Whether the tree already says something at `path`; for a path into a list, whether the list is
// there at all.
bool Says(const Node& root, absl::string_view path);

}  // namespace config
