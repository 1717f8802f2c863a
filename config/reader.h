// The visitor that fills a struct from a tree of values, checking types and ranges as it goes.
//
// It goes on after a mistake and reports the one that stands first in the file, so that the line an
// operator sees is the one to begin with.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "config/knob.h"
#include "config/node.h"

namespace config {

// Where each knob got its value: "seg.heap_size" -> proxy.toml:12. Knobs left alone are absent.
class Places {
 public:
  void Add(std::string path, Place place) { places_[std::move(path)] = std::move(place); }
  void Merge(Places other) { places_.merge(other.places_); }
  // The place of `path`, else of the nearest enclosing section that was written, else of
  // the file (path ""), else `{}`.
  Place Of(absl::string_view path) const;

 private:
  std::map<std::string, Place, std::less<>> places_;
};

// "place: path: what", the form of every complaint about a configuration.
absl::Status Complaint(const Place& place, absl::string_view path, absl::string_view what);

class Reader {
 public:
  // Both are borrowed for the Reader's life. `everywhere`: all paths of the product, for hints.
  Reader(const Node* table, const std::vector<std::string>* everywhere)
      : table_(table), everywhere_(everywhere) {
    places_.Add("", table->place);
  }

  // Call after Visit(): complains of keys that no row asked for.
  void Finish() { RefuseUnknown(); }
  // The first complaint in the file, or OK.
  absl::Status status() const;
  const Places& places() const { return places_; }

  void Text(absl::string_view name, std::string* out, absl::string_view);
  void Secret(absl::string_view name, std::string* out, absl::string_view);
  void Texts(absl::string_view name, std::vector<std::string>* out, absl::string_view);
  void Bool(absl::string_view name, bool* out, absl::string_view);
  void Int(absl::string_view name, uint32_t* out, uint32_t min, uint32_t max, absl::string_view);
  void Port(absl::string_view name, uint16_t* out, absl::string_view);
  void Size(absl::string_view name, uint64_t* out, uint64_t min, uint64_t max, absl::string_view);
  void Duration(absl::string_view name, absl::Duration* out, absl::Duration min, absl::Duration max,
                absl::string_view);
  void Ttl(absl::string_view name, absl::Duration* out, absl::Duration min, absl::Duration max,
           absl::string_view);
  void DurationOr(absl::string_view name, std::optional<absl::Duration>* out, absl::string_view,
                  absl::Duration min, absl::Duration max, absl::string_view);

  template <class Enum, class Spellings>
  void Choice(absl::string_view name, Enum* out, const Spellings& spellings, absl::string_view) {
    if (std::optional<size_t> i = Pick(name, absl::MakeConstSpan(spellings))) {
      *out = static_cast<Enum>(*i);
    }
  }

  template <class S>
  void Section(absl::string_view name, S* section, absl::string_view) {
    if (const Node* node = Table(name)) Descend(std::string(name), node, section);
  }

  template <class S>
  void List(absl::string_view name, std::vector<S>* list, absl::string_view) {
    const Node* node = Array(name);
    if (node == nullptr) return;
    list->clear();
    for (size_t i = 0; i < node->items.size(); ++i) {
      const std::string step = std::string(name) + "[" + std::to_string(i) + "]";
      list->emplace_back();
      if (IsTable(step, node->items[i])) Descend(step, &node->items[i], &list->back());
    }
  }

 private:
  struct Mistake {
    Place place;
    absl::Status status;
  };

  template <class S>
  void Descend(const std::string& step, const Node* node, S* section) {
    Reader inner(node, everywhere_);
    inner.prefix_ = prefix_ + step + ".";
    section->Visit(inner);
    inner.Finish();
    Adopt(std::move(inner), step, node->place);
  }

  const Node* Take(absl::string_view name);  // Notes that `name` is known here.
  const Node* Table(absl::string_view name);
  const Node* Array(absl::string_view name);
  bool IsTable(const std::string& step, const Node& node);
  std::optional<size_t> Pick(absl::string_view name, absl::Span<const absl::string_view> from);
  std::optional<absl::string_view> String(absl::string_view name, absl::string_view expected);
  // False when it was not given, or refused.
  bool Time(absl::string_view name, absl::Duration* out, absl::Duration min, absl::Duration max,
            bool plain_seconds);
  void Refuse(absl::string_view name, const Node& node, absl::string_view what);
  void RefuseUnknown();
  void Adopt(Reader inner, const std::string& step, const Place& place);

  const Node* const table_;
  const std::vector<std::string>* const everywhere_;
  std::string prefix_;
  std::vector<std::string> known_;
  std::vector<Mistake> mistakes_;
  Places places_;
};

}  // namespace config
