#include "core/auth/users.h"

#include <cstring>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/read_file.h"

namespace core {
namespace {

absl::Status Malformed(size_t line, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", why));
}

}  // namespace

Users::~Users() { ::explicit_bzero(entries_.data(), entries_.size() * sizeof(Entry)); }

absl::StatusOr<std::shared_ptr<const Users>> Users::Parse(absl::string_view text) {
  std::shared_ptr<Users> users(new Users());
  // Never moved to other memory, where a copy would stay behind.
  users->entries_.reserve(kUsersMax);
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    absl::string_view line = text.substr(0, end);
    text.remove_prefix(end == absl::string_view::npos ? text.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos) return Malformed(number, "expected user:password");
    const absl::string_view name = line.substr(0, colon), password = line.substr(colon + 1);
    if (name.empty()) return Malformed(number, "the user has no name");
    if (name.size() > kNameBytesMax || password.size() > kPasswordBytesMax) {
      return Malformed(number, "user and password may have 255 bytes each");
    }
    if (users->entries_.size() == kUsersMax) return Malformed(number, "1000 users are the most");
    Fill(name, password, &users->entries_.emplace_back());
  }
  if (users->entries_.empty()) return absl::InvalidArgumentError("there is no user in it");
  return users;
}

absl::StatusOr<std::shared_ptr<const Users>> Users::Read(const char* file) {
  const std::string what = absl::StrCat("\"", file, "\"");
  std::string text(kFileBytesMax + 1, '\0');
  const absl::StatusOr<size_t> size = ReadFile(file, what, absl::MakeSpan(text));
  absl::StatusOr<std::shared_ptr<const Users>> users =
      absl::InvalidArgumentError("is longer than 1 MB");
  if (size.ok() && *size <= kFileBytesMax) users = Parse(absl::string_view(text.data(), *size));
  ::explicit_bzero(text.data(), text.size());
  if (!size.ok()) return size.status();
  if (!users.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", users.status().message()));
  }
  return users;
}

// REQUIRES: both words fit.
void Users::Fill(absl::string_view name, absl::string_view password, Entry* entry) {
  entry->fill(0);
  unsigned char* at = entry->data();
  *at++ = static_cast<unsigned char>(name.size());
  if (!name.empty()) std::memcpy(at, name.data(), name.size());
  at += kNameBytesMax;
  *at++ = static_cast<unsigned char>(password.size());
  if (!password.empty()) std::memcpy(at, password.data(), password.size());
}

bool Users::Match(absl::string_view name, absl::string_view password) const {
  if (name.size() > kNameBytesMax || password.size() > kPasswordBytesMax) return false;
  Entry asked;
  Fill(name, password, &asked);
  unsigned matches = 0;
  for (const Entry& entry : entries_) {
    unsigned differs = 0;
    for (size_t i = 0; i < entry.size(); ++i) differs |= entry[i] ^ asked[i];
    matches |= static_cast<unsigned>(differs == 0);
  }
  ::explicit_bzero(asked.data(), asked.size());
  return matches != 0;
}

}  // namespace core
