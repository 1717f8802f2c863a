#include "core/auth/users.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/fd.h"

namespace core {
namespace {

absl::Status Failure(absl::string_view file, int error) {
  const std::string message = absl::StrCat("\"", file, "\": ", strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::UnavailableError(message);
}

absl::Status Malformed(size_t line, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", why));
}

// Gives memory back empty.
void Wipe(std::string* text) { ::explicit_bzero(text->data(), text->size()); }

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
  // Nonblocking: opening a FIFO would wait for its writer.
  const Fd fd(::open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return Failure(file, errno);
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) return Failure(file, errno);
  const auto invalid = [file](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("\"", file, "\": ", why));
  };
  if (!S_ISREG(info.st_mode)) return invalid("is no file");
  std::string text(kFileBytesMax + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = ::read(fd.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      Wipe(&text);
      return Failure(file, error);
    }
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  if (size > kFileBytesMax) {
    Wipe(&text);
    return invalid("is longer than 1 MB");
  }
  auto users = Parse(absl::string_view(text.data(), size));
  Wipe(&text);
  if (!users.ok()) return invalid(users.status().message());
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
