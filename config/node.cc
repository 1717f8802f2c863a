#include "config/node.h"

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace config {
namespace {

std::vector<std::string> Steps(absl::string_view path) {
  return absl::StrSplit(absl::StrReplaceAll(path, {{"[", "."}, {"]", ""}}), '.');
}

bool IsIndex(absl::string_view step) {
  return !step.empty() && step.find_first_not_of("0123456789") == absl::string_view::npos;
}

// TOML's own quotes around the whole value are taken off; escapes are left to files.
std::string Unquoted(absl::string_view value) {
  value = absl::StripAsciiWhitespace(value);
  const bool quoted = value.size() >= 2 && value.front() == value.back() &&
                      (value.front() == '"' || value.front() == '\'');
  return std::string(quoted ? value.substr(1, value.size() - 2) : value);
}

absl::Status Wrong(const Override& set, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(set.place, ": ", set.path, ": ", what));
}

Node EmptyAt(const Override& set, Node::Kind kind) {
  Node node;
  node.kind = kind;
  node.place.name = set.place;
  return node;
}

// The item that `index` means in the list `list`, made when it is the next one.
absl::StatusOr<Node*> Item(const Override& set, absl::string_view index, Node* list) {
  size_t i = 0;
  if (!absl::SimpleAtoi(index, &i) || i > list->items.size()) {
    return Wrong(set, absl::StrCat("there is no item ", index, "; the list has ",
                                   list->items.size(), ", counted from 0"));
  }
  if (i == list->items.size()) list->items.push_back(EmptyAt(set, Node::Kind::kTable));
  return &list->items[i];
}

}  // namespace

std::string Place::Text() const { return line == 0 ? name : absl::StrCat(name, ":", line); }

Node* Node::Find(absl::string_view key) {
  for (auto& [name, child] : children) {
    if (name == key) return &child;
  }
  return nullptr;
}

const Node* Node::Find(absl::string_view key) const { return const_cast<Node*>(this)->Find(key); }

Node* Node::Put(absl::string_view key, Node child) {
  if (Node* old = Find(key)) {
    *old = std::move(child);
    return old;
  }
  children.push_back({std::string(key), std::move(child)});
  return &children.back().node;
}

void Node::Erase(absl::string_view key) {
  for (auto it = children.begin(); it != children.end(); ++it) {
    if (it->name == key) {
      children.erase(it);
      return;
    }
  }
}

Node Node::Take(absl::string_view key) {
  Node taken = std::move(*Find(key));
  Erase(key);
  return taken;
}

absl::Status Apply(const Override& set, Node* root) {
  const std::vector<std::string> steps = Steps(set.path);
  for (const std::string& step : steps) {
    if (step.empty()) return Wrong(set, "expected section.key=value");
  }
  Node* at = root;
  for (size_t i = 0; i + 1 < steps.size(); ++i) {
    Node* next = at->Find(steps[i]);
    const bool list = IsIndex(steps[i + 1]);
    if (next == nullptr) {
      next = at->Put(steps[i], EmptyAt(set, list ? Node::Kind::kArray : Node::Kind::kTable));
    }
    if (list && next->kind == Node::Kind::kArray) {
      if (i + 2 == steps.size()) return Wrong(set, "expected a key after the index");
      absl::StatusOr<Node*> item = Item(set, steps[++i], next);
      if (!item.ok()) return item.status();
      next = *item;
    }
    if (next->kind == Node::Kind::kArray) {
      return Wrong(set, absl::StrCat("a list; say ", steps[i], "[0].", steps[i + 1]));
    }
    if (next->kind != Node::Kind::kTable) return Wrong(set, "not a section");
    at = next;
  }
  Node* old = at->Find(steps.back());
  if (old != nullptr && (old->kind == Node::Kind::kTable || old->kind == Node::Kind::kArray)) {
    return Wrong(set, "a section, not a key; expected section.key=value");
  }
  Node value = EmptyAt(set, Node::Kind::kBare);
  value.text = Unquoted(set.value);
  at->Put(steps.back(), std::move(value));
  return absl::OkStatus();
}

bool Says(const Node& root, absl::string_view path) {
  const Node* at = &root;
  for (const std::string& step : Steps(path)) {
    if (at->kind == Node::Kind::kArray) return true;
    at = at->Find(step);
    if (at == nullptr) return false;
  }
  return true;
}

}  // namespace config
