// What the tests of this room share: text to struct, without a file and with a fixed name.
#pragma once

#include <string>

#include "config/loader.h"

namespace config {

inline constexpr char kFile[] = "f.toml";

// The product that `text` describes, read as if it were f.toml, with `overrides` on top.
template <class Product>
absl::StatusOr<Product> Fill(const std::string& text, std::vector<Override> overrides = {}) {
  absl::StatusOr<Node> root = ReadText(text, kFile);
  if (!root.ok()) return root.status();
  Source source;
  source.overrides = std::move(overrides);
  absl::Status status = internal::ApplyAll(source, &*root);
  if (!status.ok()) return status;
  return internal::Build<Product>(*root);
}

// The complaint about `text`, or "OK".
template <class Product>
std::string Complain(const std::string& text, std::vector<Override> overrides = {}) {
  const absl::StatusOr<Product> filled = Fill<Product>(text, std::move(overrides));
  return filled.ok() ? "OK" : std::string(filled.status().message());
}

}  // namespace config
