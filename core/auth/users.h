// Names and passwords, as memcached's -Y file has them: lines of "user:password". The password is the
// rest of the line after the first colon; blank lines are passed over.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace core {

class Users {
 public:
  static constexpr size_t kNameBytesMax = 255;
  static constexpr size_t kPasswordBytesMax = 255;  // memcached: 256 for both and the colon.
  static constexpr size_t kUsersMax = 1000;         // Each is looked at for each attempt.
  static constexpr size_t kFileBytesMax = 1024 * 1024;

  // INVALID_ARGUMENT for a line that is none, too long a word, or no user at all; the message says
  // which line, and nothing of what stands there.
  static absl::StatusOr<std::shared_ptr<const Users>> Parse(absl::string_view text);
  // The same of a file, whose name begins the message; also NOT_FOUND and PERMISSION_DENIED. Waits for
  // the disk: not for workers.
  static absl::StatusOr<std::shared_ptr<const Users>> Read(const char* file);

  ~Users();
  Users(const Users&) = delete;
  Users& operator=(const Users&) = delete;

  size_t size() const { return entries_.size(); }

  // Takes as long whatever is right or wrong about name and password, but for their lengths, which
  // the peer knows. Any thread.
  bool Match(absl::string_view name, absl::string_view password) const;

 private:
  // Both words, padded with zeros, and their lengths: compared whole.
  using Entry = std::array<unsigned char, kNameBytesMax + kPasswordBytesMax + 2>;
  static void Fill(absl::string_view name, absl::string_view password, Entry* entry);

  Users() = default;

  std::vector<Entry> entries_;
};

}  // namespace core
