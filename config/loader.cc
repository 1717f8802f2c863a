// The one file that knows toml11; its exceptions end here.
#include "config/loader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fstream>
#include <sstream>
#include <toml.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace config {
namespace {

using Kind = Node::Kind;

// A configuration is kilobytes; more is somebody's mistake.
constexpr std::streamsize kFileBytesMax = 1 << 20;

Node Convert(const toml::value& value, const std::string& name) {
  Node node;
  node.place = {name, static_cast<uint32_t>(value.location().line())};
  switch (value.type()) {
    case toml::value_t::boolean:
      node.kind = Kind::kBool;
      node.boolean = value.as_boolean();
      break;
    case toml::value_t::integer:
      node.kind = Kind::kInteger;
      node.integer = value.as_integer();
      break;
    case toml::value_t::floating:
      node.kind = Kind::kFloat;
      node.real = value.as_floating();
      break;
    case toml::value_t::string:
      node.kind = Kind::kString;
      node.text = value.as_string().str;
      break;
    case toml::value_t::array:
      node.kind = Kind::kArray;
      for (const toml::value& item : value.as_array()) node.items.push_back(Convert(item, name));
      break;
    case toml::value_t::table:
      node.kind = Kind::kTable;
      for (const auto& [key, child] : value.as_table()) {
        node.children.push_back({key, Convert(child, name)});
      }
      // toml11 keeps tables in hash order.
      std::stable_sort(node.children.begin(), node.children.end(),
                       [](const Child& a, const Child& b) {
                         return std::make_pair(a.node.place.line, a.name) <
                                std::make_pair(b.node.place.line, b.name);
                       });
      break;
    default:
      node.kind = Kind::kOther;
  }
  return node;
}

// toml11 explains itself over many lines: a headline, then the source with a remark under it. The
// line number is in the exception; the headline and the last remark make one line.
std::string OneLine(absl::string_view what) {
  const std::vector<absl::string_view> lines = absl::StrSplit(what, '\n');
  absl::string_view headline = lines.front();
  absl::ConsumePrefix(&headline, "[error] ");
  if (absl::StartsWith(headline, "toml::")) {
    const size_t colon = headline.find(": ");
    if (colon != absl::string_view::npos) headline.remove_prefix(colon + 2);
  }
  std::string remark;
  for (const absl::string_view line : lines) {
    for (const absl::string_view mark : {"^--- ", "~ "}) {
      const size_t at = line.find(mark);
      if (at != absl::string_view::npos && absl::StrContains(line, " | ")) {
        remark = std::string(line.substr(at + mark.size()));
      }
    }
  }
  absl::ConsumeSuffix(&headline, ".");
  return remark.empty() || remark == "here" ? std::string(headline)
                                            : absl::StrCat(headline, ": ", remark);
}

}  // namespace

absl::StatusOr<Node> ReadText(const std::string& text, const std::string& name) {
  try {
    std::istringstream in(text);
    Node root = Convert(toml::parse(in, name), name);
    root.place = {name, 0};
    return root;
  } catch (const toml::exception& e) {
    const Place place{name, static_cast<uint32_t>(e.location().line())};
    return Complaint(place, "", absl::StrCat("not TOML: ", OneLine(e.what())));
  } catch (const std::exception& e) {
    return Complaint({name, 0}, "", absl::StrCat("not TOML: ", OneLine(e.what())));
  }
}

absl::StatusOr<Node> ReadFile(const std::string& file) {
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat(file, ": ", std::strerror(errno)));
  std::string text(kFileBytesMax + 1, '\0');
  in.read(text.data(), kFileBytesMax + 1);
  // A directory opens and then does not read.
  if (in.bad()) return absl::NotFoundError(absl::StrCat(file, ": cannot be read"));
  if (in.gcount() > kFileBytesMax) {
    return Complaint({file, 0}, "", "longer than 1MB, expected a configuration file");
  }
  text.resize(static_cast<size_t>(in.gcount()));
  return ReadText(text, file);
}

namespace internal {

absl::Status ApplyAll(const Source& source, Node* root) {
  // Judged against the file alone, so that two defaults of one list item do not hide each other.
  const Node file = *root;
  for (const Override& set : source.defaults) {
    if (Says(file, set.path)) continue;
    absl::Status status = Apply(set, root);
    if (!status.ok()) return status;
  }
  for (const Override& set : source.overrides) {
    absl::Status status = Apply(set, root);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace internal
}  // namespace config
