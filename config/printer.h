// The visitor that prints a struct as a TOML file which loads to the same struct. Secrets are
// "***".
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/knob.h"
#include "config/units.h"

namespace config {

// `text` as a TOML basic string, quotes included.
std::string Quoted(absl::string_view text);
// Several as a TOML array.
std::string QuotedList(const std::vector<std::string>& texts);

class Printer {
 public:
  template <class T>
  static std::string Print(const T& value) {
    Printer printer;
    T copy = value;  // Visit() hands out pointers, so it is not const.
    copy.Visit(printer);
    return std::move(printer.out_);
  }

  void Text(absl::string_view name, std::string* v, absl::string_view) { Line(name, Quoted(*v)); }
  void Secret(absl::string_view name, std::string* v, absl::string_view) {
    Line(name, v->empty() ? "\"\"" : "\"***\"");
  }
  void Texts(absl::string_view name, std::vector<std::string>* v, absl::string_view) {
    Line(name, QuotedList(*v));
  }
  void Bool(absl::string_view name, bool* v, absl::string_view) {
    Line(name, *v ? "true" : "false");
  }
  void Int(absl::string_view name, uint32_t* v, uint32_t, uint32_t, absl::string_view) {
    Line(name, absl::StrCat(*v));
  }
  void Port(absl::string_view name, uint16_t* v, absl::string_view) {
    Line(name, absl::StrCat(*v));
  }
  void Size(absl::string_view name, uint64_t* v, uint64_t, uint64_t, absl::string_view) {
    Line(name, Quoted(SpellSize(*v)));
  }
  void Duration(absl::string_view name, absl::Duration* v, absl::Duration, absl::Duration,
                absl::string_view) {
    Line(name, Quoted(SpellDuration(*v)));
  }
  void Ttl(absl::string_view name, absl::Duration* v, absl::Duration, absl::Duration,
           absl::string_view) {
    Line(name, Quoted(SpellDuration(*v)));
  }
  void DurationOr(absl::string_view name, std::optional<absl::Duration>* v, absl::string_view,
                  absl::Duration, absl::Duration, absl::string_view) {
    Line(name, Quoted(v->has_value() ? SpellDuration(**v) : ""));
  }
  template <class Enum, class Spellings>
  void Choice(absl::string_view name, Enum* v, const Spellings& spellings, absl::string_view) {
    Line(name, Quoted(spellings[static_cast<size_t>(*v)]));
  }
  // Rows of tables within come last in a Visit(): TOML has no way back out of them.
  template <class S>
  void Section(absl::string_view name, S* section, absl::string_view) {
    Header(absl::StrCat("[", prefix_, name, "]"));
    VisitWithin(name, section, this, &prefix_);
  }
  template <class S>
  void List(absl::string_view name, std::vector<S>* list, absl::string_view) {
    for (S& item : *list) {
      Header(absl::StrCat("[[", prefix_, name, "]]"));
      VisitWithin(name, &item, this, &prefix_);
    }
  }

 private:
  void Line(absl::string_view name, absl::string_view value) {
    absl::StrAppend(&out_, name, " = ", value, "\n");
  }
  void Header(absl::string_view header) {
    absl::StrAppend(&out_, out_.empty() ? "" : "\n", header, "\n");
  }

  std::string prefix_;  // "cache." inside of a [[cache]].
  std::string out_;
};

}  // namespace config
