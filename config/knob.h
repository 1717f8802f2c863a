// What a knob may be. Every section has one Visit() with a row a knob; the same row parses it,
// prints it and documents it (reader.h, printer.h, describer.h and names.h are the visitors).
//
//   v.Text(name, std::string*, sentence)              v.Secret(...)  printed as "***"
//   v.Bool(name, bool*, sentence)
//   v.Int(name, uint32_t*, min, max, sentence)        plain count
//   v.Port(name, uint16_t*, sentence)                 0..65535, integer or decimal string
//   v.Size(name, uint64_t*, min, max, sentence)       bytes; "64MB", "16KB", plain integer
//   v.Duration(name, absl::Duration*, min, max, sentence)   "200ms", "1.5s", "10m", "1h"
//   v.Ttl(...)                                        a Duration that also takes plain seconds
//   v.Choice(name, Enum*, kNames, sentence)           kNames[i] spells enum value i
//   v.Section(name, Struct*, sentence)                a [table]
//   v.List(name, std::vector<Struct>*, sentence)      a [[table array]]
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace config {

inline constexpr uint64_t kKB = 1024;
inline constexpr uint64_t kMB = 1024 * kKB;
inline constexpr uint64_t kGB = 1024 * kMB;

}  // namespace config
