// The visitor that documents: a line for every knob with its type, range, default and sentence.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/knob.h"
#include "config/printer.h"
#include "config/units.h"

namespace config {

// One row of the table.
struct Knob {
  std::string path;           // "server.workers", "cache[].port"
  std::string type;           // "integer, 0 to 128"
  std::string default_value;  // As TOML.
  std::string sentence;
  bool live = false;  // Taken over on SIGHUP.
};

class Describer {
 public:
  template <class T>
  static std::vector<Knob> Knobs() {
    Describer describer;
    T defaults;
    defaults.Visit(describer);
    return std::move(describer.knobs_);
  }

  void Text(absl::string_view name, std::string* v, Sentence sentence) {
    Add(name, "string", Quoted(*v), sentence);
  }
  void Secret(absl::string_view name, std::string* v, Sentence sentence) {
    Add(name, "secret string", v->empty() ? "\"\"" : "\"***\"", sentence);
  }
  void Texts(absl::string_view name, std::vector<std::string>* v, Sentence sentence) {
    Add(name, "list of strings", QuotedList(*v), sentence);
  }
  void Bool(absl::string_view name, bool* v, Sentence sentence) {
    Add(name, "boolean", *v ? "true" : "false", sentence);
  }
  void Int(absl::string_view name, uint32_t* v, uint32_t min, uint32_t max,
           Sentence sentence) {
    Add(name, absl::StrCat("integer, ", min, " to ", max), absl::StrCat(*v), sentence);
  }
  void Port(absl::string_view name, uint16_t* v, Sentence sentence) {
    Add(name, "port, 0 to 65535", absl::StrCat(*v), sentence);
  }
  void Size(absl::string_view name, uint64_t* v, uint64_t min, uint64_t max,
            Sentence sentence) {
    Add(name, absl::StrCat("size, ", SpellSize(min), " to ", SpellSize(max)), Quoted(SpellSize(*v)),
        sentence);
  }
  void Duration(absl::string_view name, absl::Duration* v, absl::Duration min, absl::Duration max,
                Sentence sentence) {
    Time(name, "duration", *v, min, max, sentence);
  }
  void Ttl(absl::string_view name, absl::Duration* v, absl::Duration min, absl::Duration max,
           Sentence sentence) {
    Time(name, "duration or seconds", *v, min, max, sentence);
  }
  void DurationOr(absl::string_view name, std::optional<absl::Duration>*, absl::string_view other,
                  absl::Duration min, absl::Duration max, Sentence sentence) {
    const std::string text = absl::StrCat(sentence.text, "; empty means ", other);
    Add(name, absl::StrCat("duration, ", SpellDuration(min), " to ", SpellDuration(max)), "\"\"",
        sentence.live ? Live(text) : Sentence(absl::string_view(text)));
  }
  template <class Enum, class Spellings>
  void Choice(absl::string_view name, Enum* v, const Spellings& spellings,
              Sentence sentence) {
    Add(name, absl::StrJoin(spellings, " | "), Quoted(spellings[static_cast<size_t>(*v)]),
        sentence);
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
  void Time(absl::string_view name, absl::string_view type, absl::Duration v, absl::Duration min,
            absl::Duration max, Sentence sentence) {
    Add(name, absl::StrCat(type, ", ", SpellDuration(min), " to ", SpellDuration(max)),
        Quoted(SpellDuration(v)), sentence);
  }
  void Add(absl::string_view name, std::string type, std::string default_value,
           Sentence sentence) {
    knobs_.push_back({absl::StrCat(prefix_, name), std::move(type), std::move(default_value),
                      std::string(sentence.text), sentence.live});
  }

  std::string prefix_;
  std::vector<Knob> knobs_;
};

// The rows as text, a knob a line, columns aligned.
std::string Table(const std::vector<Knob>& knobs);

}  // namespace config
