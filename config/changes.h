// What differs between the configuration in force and one read anew, and which of it a running
// process may take over: the rows marked Live().
//
// Items of a list are the same thing if they have the same name (Item::Name()), wherever they stand
// in it; one that came or went waits for a restart, and none is mistaken for another.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/knob.h"
#include "config/printer.h"
#include "config/units.h"

namespace config {

struct Change {
  std::string path;    // "server.idle_timeout", "cache[my-cache].deadline"
  std::string before;  // As TOML; a secret as "***". Empty: a list item that came or went.
  std::string after;
  bool live = false;
};

// The visitor that lists the fields of a struct, in the order of their rows.
class Fields {
 public:
  struct Field {
    std::string path;
    std::string printed;
    bool live;
    void* at;
    bool (*same)(const void*, const void*);
    void (*assign)(void*, const void*);
  };

  // The fields point into *value.
  template <class T>
  static Fields Of(T* value) {
    Fields fields;
    value->Visit(fields);
    return fields;
  }
  const std::vector<Field>& all() const { return all_; }
  // Names of list items: "cache[my-cache]".
  const std::vector<std::string>& items() const { return items_; }

  void Text(absl::string_view name, std::string* v, Sentence s) { Add(name, v, Quoted(*v), s); }
  void Texts(absl::string_view name, std::vector<std::string>* v, Sentence s) {
    Add(name, v, QuotedList(*v), s);
  }
  void Secret(absl::string_view name, std::string* v, Sentence s) {
    Add(name, v, v->empty() ? "\"\"" : "\"***\"", s);
  }
  void Bool(absl::string_view name, bool* v, Sentence s) { Add(name, v, *v ? "true" : "false", s); }
  void Int(absl::string_view name, uint32_t* v, uint32_t, uint32_t, Sentence s) {
    Add(name, v, absl::StrCat(*v), s);
  }
  void Port(absl::string_view name, uint16_t* v, Sentence s) { Add(name, v, absl::StrCat(*v), s); }
  void Size(absl::string_view name, uint64_t* v, uint64_t, uint64_t, Sentence s) {
    Add(name, v, Quoted(SpellSize(*v)), s);
  }
  void Duration(absl::string_view name, absl::Duration* v, absl::Duration, absl::Duration,
                Sentence s) {
    Add(name, v, Quoted(SpellDuration(*v)), s);
  }
  void Ttl(absl::string_view name, absl::Duration* v, absl::Duration, absl::Duration, Sentence s) {
    Add(name, v, Quoted(SpellDuration(*v)), s);
  }
  void DurationOr(absl::string_view name, std::optional<absl::Duration>* v, absl::string_view,
                  absl::Duration, absl::Duration, Sentence s) {
    Add(name, v, v->has_value() ? Quoted(SpellDuration(**v)) : "\"\"", s);
  }
  template <class Enum, class Spellings>
  void Choice(absl::string_view name, Enum* v, const Spellings& spellings, Sentence s) {
    Add(name, v, Quoted(spellings[static_cast<size_t>(*v)]), s);
  }
  template <class S>
  void Section(absl::string_view name, S* section, absl::string_view) {
    VisitWithin(name, section, this, &prefix_);
  }
  template <class S>
  void List(absl::string_view name, std::vector<S>* list, absl::string_view) {
    std::map<std::string, int> seen;
    for (S& item : *list) {
      std::string called = item.Name();
      const int before = seen[called]++;
      if (before > 0) absl::StrAppend(&called, "#", before + 1);
      const std::string step = absl::StrCat(name, "[", called, "]");
      items_.push_back(prefix_ + step);
      VisitWithin(step, &item, this, &prefix_);
    }
  }

 private:
  template <class T>
  void Add(absl::string_view name, T* v, std::string printed, const Sentence& sentence) {
    all_.push_back({absl::StrCat(prefix_, name), std::move(printed), sentence.live, v,
                    [](const void* a, const void* b) {
                      return *static_cast<const T*>(a) == *static_cast<const T*>(b);
                    },
                    [](void* to, const void* from) {
                      *static_cast<T*>(to) = *static_cast<const T*>(from);
                    }});
  }

  std::string prefix_;
  std::vector<Field> all_;
  std::vector<std::string> items_;
};

// What `fresh` has otherwise than `before`, in the order of the rows.
std::vector<Change> Differences(const Fields& before, const Fields& fresh);
// Copies the live ones of them.
void TakeOver(const Fields& fresh, const Fields& into);

// `fresh` as a process that runs with `running` may use it: what is live from `fresh`, the rest as
// it is. *changes: all that differs.
template <class Product>
Product Reconciled(const Product& running, Product fresh, std::vector<Change>* changes) {
  Product next = running;
  const Fields from = Fields::Of(&fresh);
  const Fields into = Fields::Of(&next);
  *changes = Differences(into, from);
  TakeOver(from, into);
  return next;
}

}  // namespace config
