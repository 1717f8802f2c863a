#include "config/printer.h"

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace config {

std::string Quoted(absl::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04X", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string QuotedList(const std::vector<std::string>& texts) {
  const auto quote = [](std::string* out, const std::string& text) { *out += Quoted(text); };
  return absl::StrCat("[", absl::StrJoin(texts, ", ", quote), "]");
}

}  // namespace config
