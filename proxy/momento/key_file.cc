// See key_file.h.
#include "proxy/momento/key_file.h"

#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/read_file.h"

namespace proxy::momento {
namespace {

// Keys are one or two KiB; the service takes headers of 8 KiB at most.
constexpr size_t kKeyFileBytesMax = 16 * 1024;

}  // namespace

absl::StatusOr<Secret> ReadKeyFile(const std::string& file, const std::string& knob) {
  const std::string what = absl::StrCat(knob, ": \"", file, "\"");
  char bytes[kKeyFileBytesMax + 1];
  const absl::StatusOr<size_t> size = core::ReadFile(file.c_str(), what, absl::MakeSpan(bytes));
  Secret key;
  if (size.ok()) key = Secret(absl::StripAsciiWhitespace(absl::string_view(bytes, *size)));
  ::explicit_bzero(bytes, sizeof(bytes));
  if (!size.ok()) return size.status();
  if (*size > kKeyFileBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is too long to be an API key"));
  }
  if (key.empty()) return absl::InvalidArgumentError(absl::StrCat(what, " is empty"));
  return key;
}

}  // namespace proxy::momento
