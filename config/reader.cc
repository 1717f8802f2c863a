#include "config/reader.h"

#include <algorithm>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "config/names.h"
#include "config/units.h"

namespace config {
namespace {

using Kind = Node::Kind;

absl::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kTable:
      return "a section";
    case Kind::kArray:
      return "a list";
    case Kind::kString:
      return "a string";
    case Kind::kInteger:
      return "an integer";
    case Kind::kFloat:
      return "a fraction";
    case Kind::kBool:
      return "a boolean";
    case Kind::kOther:
      return "a date or time";
    case Kind::kBare:
      return "text";
  }
  return "something else";
}

// What was found, for the second half of "expected X, got Y".
std::string Found(const Node& node) {
  switch (node.kind) {
    case Kind::kString:
      return absl::StrCat("the string \"", absl::CEscape(node.text), "\"");
    case Kind::kBare:
      return absl::StrCat("\"", absl::CEscape(node.text), "\"");
    case Kind::kInteger:
      return absl::StrCat(node.integer);
    case Kind::kFloat:
      return absl::StrCat(node.real);
    case Kind::kBool:
      return node.boolean ? "true" : "false";
    default:
      return std::string(KindName(node.kind));
  }
}

// The integer a value spells: TOML's own, or digits typed on a command line.
std::optional<int64_t> AsInteger(const Node& node) {
  int64_t value = 0;
  if (node.kind == Kind::kInteger) return node.integer;
  if (node.kind == Kind::kBare && absl::SimpleAtoi(node.text, &value)) return value;
  return std::nullopt;
}

bool IsText(const Node& node) { return node.kind == Kind::kString || node.kind == Kind::kBare; }

std::string OutOfRange(absl::string_view value, absl::string_view min, absl::string_view max) {
  return absl::StrCat(value, " is out of range, expected ", min, " to ", max);
}

// Files before command lines, then by line.
uint64_t Order(const Place& place) {
  return place.line == 0 ? std::numeric_limits<uint64_t>::max() : place.line;
}

}  // namespace

Place Places::Of(absl::string_view path) const {
  for (;;) {
    const auto found = places_.find(path);
    if (found != places_.end()) return found->second;
    const size_t dot = path.rfind('.');
    if (path.empty()) return {};
    path = dot == absl::string_view::npos ? absl::string_view() : path.substr(0, dot);
  }
}

absl::Status Complaint(const Place& place, absl::string_view path, absl::string_view what) {
  const std::string where = place.Text();
  return absl::InvalidArgumentError(
      absl::StrCat(where, where.empty() ? "" : ": ", path, path.empty() ? "" : ": ", what));
}

absl::Status Reader::status() const {
  if (mistakes_.empty()) return absl::OkStatus();
  return std::min_element(
             mistakes_.begin(), mistakes_.end(),
             [](const Mistake& a, const Mistake& b) { return Order(a.place) < Order(b.place); })
      ->status;
}

void Reader::Text(absl::string_view name, std::string* out, absl::string_view) {
  if (const std::optional<absl::string_view> text = String(name, "a string"))
    out->assign(text->data(), text->size());
}

void Reader::Secret(absl::string_view name, std::string* out, absl::string_view) {
  const Node* node = Take(name);
  if (node == nullptr) return;
  if (!IsText(*node)) return Refuse(name, *node, "expected a string");
  if (node->text == "***") {
    return Refuse(name, *node, "*** stands for a secret that was not printed; put the secret here");
  }
  *out = node->text;
}

void Reader::Texts(absl::string_view name, std::vector<std::string>* out, absl::string_view) {
  const Node* node = Take(name);
  if (node == nullptr) return;
  std::vector<std::string> texts;
  if (IsText(*node)) {
    texts = absl::StrSplit(node->text, ',', absl::SkipEmpty());
  } else if (node->kind == Kind::kArray) {
    for (const Node& item : node->items) {
      if (!IsText(item)) {
        return Refuse(name, item, absl::StrCat("expected a list of strings, got in it ", Found(item)));
      }
      texts.push_back(item.text);
    }
  } else {
    return Refuse(name, *node, absl::StrCat("expected a list of strings, got ", Found(*node)));
  }
  *out = std::move(texts);
}

void Reader::Bool(absl::string_view name, bool* out, absl::string_view) {
  const Node* node = Take(name);
  if (node == nullptr) return;
  if (node->kind == Kind::kBool) {
    *out = node->boolean;
  } else if (node->kind == Kind::kBare && (node->text == "true" || node->text == "false")) {
    *out = node->text == "true";
  } else {
    Refuse(name, *node, absl::StrCat("expected true or false, got ", Found(*node)));
  }
}

void Reader::Int(absl::string_view name, uint32_t* out, uint32_t min, uint32_t max,
                 absl::string_view) {
  const Node* node = Take(name);
  if (node == nullptr) return;
  const std::optional<int64_t> value = AsInteger(*node);
  if (!value) {
    return Refuse(name, *node,
                  absl::StrCat("expected an integer, ", min, " to ", max, ", got ", Found(*node)));
  }
  if (*value < min || *value > max) {
    return Refuse(name, *node,
                  OutOfRange(absl::StrCat(*value), absl::StrCat(min), absl::StrCat(max)));
  }
  *out = static_cast<uint32_t>(*value);
}

void Reader::Port(absl::string_view name, uint16_t* out, absl::string_view) {
  const Node* node = Take(name);
  if (node == nullptr) return;
  std::optional<int64_t> value = AsInteger(*node);
  int64_t digits = 0;
  // Pelikan's files put ports in quotes.
  if (node->kind == Kind::kString && absl::SimpleAtoi(node->text, &digits)) value = digits;
  if (!value) {
    return Refuse(name, *node, absl::StrCat("expected a port, 0 to 65535, got ", Found(*node)));
  }
  if (*value < 0 || *value > 65535) {
    return Refuse(name, *node, OutOfRange(absl::StrCat(*value), "0", "65535"));
  }
  *out = static_cast<uint16_t>(*value);
}

void Reader::Size(absl::string_view name, uint64_t* out, uint64_t min, uint64_t max,
                  absl::string_view) {
  const Node* node = Take(name);
  if (node == nullptr) return;
  std::optional<uint64_t> value;
  if (IsText(*node)) value = ParseSize(node->text);
  if (node->kind == Kind::kInteger && node->integer >= 0) {
    value = static_cast<uint64_t>(node->integer);
  }
  if (!value) {
    return Refuse(name, *node,
                  absl::StrCat("expected a size such as \"64MB\", got ", Found(*node)));
  }
  if (*value < min || *value > max) {
    return Refuse(name, *node, OutOfRange(SpellSize(*value), SpellSize(min), SpellSize(max)));
  }
  *out = *value;
}

void Reader::Duration(absl::string_view name, absl::Duration* out, absl::Duration min,
                      absl::Duration max, absl::string_view) {
  Time(name, out, min, max, false);
}

void Reader::Ttl(absl::string_view name, absl::Duration* out, absl::Duration min,
                 absl::Duration max, absl::string_view) {
  Time(name, out, min, max, true);
}

void Reader::DurationOr(absl::string_view name, std::optional<absl::Duration>* out,
                        absl::string_view, absl::Duration min, absl::Duration max,
                        absl::string_view) {
  const Node* node = table_->Find(name);
  if (node != nullptr && IsText(*node) && node->text.empty()) {
    Take(name);
    out->reset();
    return;
  }
  absl::Duration value;
  if (Time(name, &value, min, max, false)) *out = value;
}

bool Reader::Time(absl::string_view name, absl::Duration* out, absl::Duration min,
                  absl::Duration max, bool plain_seconds) {
  const Node* node = Take(name);
  if (node == nullptr) return false;
  std::optional<absl::Duration> value;
  const std::optional<int64_t> integer = AsInteger(*node);
  // Zero is the same in every unit.
  if (integer && *integer >= 0 && (plain_seconds || *integer == 0)) value = absl::Seconds(*integer);
  if (!value && IsText(*node)) value = ParseDuration(node->text);
  if (!value) {
    Refuse(name, *node,
           absl::StrCat("expected a duration such as \"200ms\"",
                        plain_seconds ? " or a number of seconds" : "", ", got ", Found(*node)));
    return false;
  }
  if (*value < min || *value > max) {
    Refuse(name, *node,
           OutOfRange(SpellDuration(*value), SpellDuration(min), SpellDuration(max)));
    return false;
  }
  *out = *value;
  return true;
}

const Node* Reader::Take(absl::string_view name) {
  known_.emplace_back(name);
  const Node* node = table_->Find(name);
  if (node != nullptr) places_.Add(prefix_ + std::string(name), node->place);
  return node;
}

const Node* Reader::Table(absl::string_view name) {
  const Node* node = Take(name);
  return node != nullptr && IsTable(std::string(name), *node) ? node : nullptr;
}

bool Reader::IsTable(const std::string& step, const Node& node) {
  if (node.kind == Kind::kTable) return true;
  const std::string header = absl::StrCat("[", prefix_, step, "]");
  Refuse(step, node, absl::StrCat("expected a section ", header, ", got ", KindName(node.kind)));
  return false;
}

const Node* Reader::Array(absl::string_view name) {
  const Node* node = Take(name);
  if (node == nullptr || node->kind == Kind::kArray) return node;
  if (node->place.line == 0) {
    Refuse(name, *node, absl::StrCat("a list, expected ", prefix_, name, "[0].key=value"));
    return nullptr;
  }
  Refuse(name, *node,
         absl::StrCat("expected a list of sections, each headed [[", prefix_, name, "]], got ",
                      KindName(node->kind)));
  return nullptr;
}

std::optional<size_t> Reader::Pick(absl::string_view name,
                                   absl::Span<const absl::string_view> from) {
  const std::string expected = absl::StrCat("one of ", absl::StrJoin(from, ", "));
  const std::optional<absl::string_view> text = String(name, expected);
  if (!text) return std::nullopt;
  const auto found = std::find(from.begin(), from.end(), *text);
  if (found != from.end()) return static_cast<size_t>(found - from.begin());

  std::string what =
      absl::StrCat("\"", absl::CEscape(*text), "\" is not known, expected ", expected);
  const std::string near = Nearest(*text, {from.begin(), from.end()}, {});
  if (!near.empty()) absl::StrAppend(&what, "; did you mean \"", near, "\"?");
  Refuse(name, *table_->Find(name), what);
  return std::nullopt;
}

std::optional<absl::string_view> Reader::String(absl::string_view name,
                                                absl::string_view expected) {
  const Node* node = Take(name);
  if (node == nullptr) return std::nullopt;
  if (IsText(*node)) return absl::string_view(node->text);
  Refuse(name, *node, absl::StrCat("expected ", expected, ", got ", Found(*node)));
  return std::nullopt;
}

void Reader::Refuse(absl::string_view name, const Node& node, absl::string_view what) {
  const std::string path = node.spelled.empty() ? absl::StrCat(prefix_, name) : node.spelled;
  mistakes_.push_back({node.place, Complaint(node.place, path, what)});
}

void Reader::RefuseUnknown() {
  for (const auto& [name, child] : table_->children) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    const bool section = child.kind == Kind::kTable ||
                         (child.kind == Kind::kArray && !child.items.empty() &&
                          child.items[0].kind == Kind::kTable);
    std::string what = section ? "unknown section" : "unknown key";
    const std::string near = Nearest(name, known_, *everywhere_);
    if (!near.empty()) {
      absl::StrAppend(&what, "; did you mean \"", near, "\"?");
    } else {
      absl::StrAppend(&what, ", expected one of ", absl::StrJoin(known_, ", "));
    }
    Refuse(absl::CEscape(name), child, what);
  }
}

void Reader::Adopt(Reader inner, const std::string& step, const Place& place) {
  places_.Add(prefix_ + step, place);
  places_.Merge(std::move(inner.places_));
  for (Mistake& mistake : inner.mistakes_) mistakes_.push_back(std::move(mistake));
}

}  // namespace config
