#include "cache/local/tokens.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace cache::local {

Tokens::Tokens(std::string token, std::string file)
    : token_(std::move(token)), file_(std::move(file)) {}

bool Tokens::Accept(absl::string_view given) const {
  if (!token_.empty() && given == token_) return true;
  if (file_.empty()) return false;
  core::MutexLock lock(mu_);
  return std::find(from_file_.begin(), from_file_.end(), given) != from_file_.end();
}

absl::Status Tokens::Read() {
  if (file_.empty()) return absl::OkStatus();
  std::ifstream in(file_);
  if (!in) {
    return absl::NotFoundError(
        absl::StrCat("local.token_file: \"", file_, "\": ", strerror(errno)));
  }
  std::vector<std::string> tokens;
  for (std::string line; std::getline(in, line);) {
    const absl::string_view token = absl::StripAsciiWhitespace(line);
    if (!token.empty()) tokens.emplace_back(token);
  }
  core::MutexLock lock(mu_);
  from_file_ = std::move(tokens);
  return absl::OkStatus();
}

}  // namespace cache::local
