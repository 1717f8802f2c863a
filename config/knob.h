// What a knob may be. Every section has one Visit() with a row a knob; the same row parses it,
// prints and documents it (visitors: reader.h, printer.h, describer.h, names.h and changes.h).
//
//   v.Text(name, std::string*, sentence)              v.Secret(...)  printed as "***"
//   v.Texts(name, std::vector<std::string>*, sentence)   a list of them; one string, commas between
//   v.Bool(name, bool*, sentence)
//   v.Int(name, uint32_t*, min, max, sentence)        plain count
//   v.Port(name, uint16_t*, sentence)                 0..65535, integer or decimal string
//   v.Size(name, uint64_t*, min, max, sentence)       bytes; "64MB", "16KB", plain integer
//   v.Duration(name, absl::Duration*, min, max, sentence)   "200ms", "1.5s", "10m", "1h"
//   v.Ttl(...)                                        a Duration that also takes plain seconds
//   v.DurationOr(name, std::optional<absl::Duration>*, other, min, max, sentence)
//                                                     "" or left out: as the knob called `other`
//   v.Choice(name, Enum*, kNames, sentence)           kNames[i] spells enum value i
//   v.Section(name, Struct*, sentence)                a [table]
//   v.List(name, std::vector<Struct>*, sentence)      a [[table array]]
//
// A sentence in Live(...) marks a knob that a running process takes over on SIGHUP; any other waits
// for a restart. The mark is all that config/changes.h, the log and --describe-config go by; the
// product's on_reload hands the new value to whoever uses it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace config {

inline constexpr uint64_t kKB = 1024;
inline constexpr uint64_t kMB = 1024 * kKB;
inline constexpr uint64_t kGB = 1024 * kMB;

// What a row says of its knob. Made from a literal, which it does not own.
struct Sentence {
  Sentence(const char* t) : text(t) {}           // NOLINT: rows are written with plain literals.
  Sentence(absl::string_view t) : text(t) {}     // NOLINT
  operator absl::string_view() const { return text; }  // NOLINT: most visitors want no more.
  absl::string_view text;
  bool live = false;
};

inline Sentence Live(absl::string_view text) {
  Sentence sentence(text);
  sentence.live = true;
  return sentence;
}

// For visitors that spell paths: shows one the rows of `section`, *prefix longer by "step.".
template <class Visitor, class S>
void VisitWithin(absl::string_view step, S* section, Visitor* visitor, std::string* prefix) {
  const size_t outer = prefix->size();
  absl::StrAppend(prefix, step, ".");
  section->Visit(*visitor);
  prefix->resize(outer);
}

}  // namespace config
