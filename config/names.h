// The visitor that collects names, and the search for the one that was probably meant.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/knob.h"

namespace config {

// Every knob of a struct as a path: "server.workers", "cache[].port".
class Names {
 public:
  template <class T>
  static std::vector<std::string> Of() {
    Names names;
    T defaults;
    defaults.Visit(names);
    return std::move(names.paths_);
  }

  void Text(absl::string_view name, std::string*, absl::string_view) { Add(name); }
  void Secret(absl::string_view name, std::string*, absl::string_view) { Add(name); }
  void Texts(absl::string_view name, std::vector<std::string>*, absl::string_view) { Add(name); }
  void Bool(absl::string_view name, bool*, absl::string_view) { Add(name); }
  void Port(absl::string_view name, uint16_t*, absl::string_view) { Add(name); }
  void Int(absl::string_view name, uint32_t*, uint32_t, uint32_t, absl::string_view) { Add(name); }
  void Size(absl::string_view name, uint64_t*, uint64_t, uint64_t, absl::string_view) { Add(name); }
  void Duration(absl::string_view name, absl::Duration*, absl::Duration, absl::Duration,
                absl::string_view) {
    Add(name);
  }
  void Ttl(absl::string_view name, absl::Duration*, absl::Duration, absl::Duration,
           absl::string_view) {
    Add(name);
  }
  void DurationOr(absl::string_view name, std::optional<absl::Duration>*, absl::string_view,
                  absl::Duration, absl::Duration, absl::string_view) {
    Add(name);
  }
  template <class Enum, class Spellings>
  void Choice(absl::string_view name, Enum*, const Spellings&, absl::string_view) {
    Add(name);
  }
  template <class S>
  void Section(absl::string_view name, S* section, absl::string_view) {
    VisitWithin(name, section, this, &prefix_);
  }
  template <class S>
  void List(absl::string_view name, std::vector<S>*, absl::string_view) {
    S item;
    VisitWithin(absl::StrCat(name, "[]"), &item, this, &prefix_);
  }

 private:
  void Add(absl::string_view name) { paths_.push_back(prefix_ + std::string(name)); }

  std::string prefix_;
  std::vector<std::string> paths_;
};

// Single-letter edits (insert, delete, change, swap of neighbours) that turn `a` into `b`.
size_t EditDistance(absl::string_view a, absl::string_view b);

// What may be meant by the unknown `key` written in `section` ("" at the top, "server", "cache[]"):
// the nearest of `here` (the names that belong there), or else a path out of `everywhere` that ends
// in the same word. Empty when nothing is near.
std::string Nearest(absl::string_view key, const std::vector<std::string>& here,
                    const std::vector<std::string>& everywhere);

}  // namespace config
