// From what an operator wrote to a product's struct, checked; or to one line that says what is
// wrong.
//
//   file --ReadFile--> Node tree --Modernize--> our keys --Apply overrides--> Reader --> Validate
//
// Errors are one line, "file:line: section.key: what was wrong, what was expected":
// InvalidArgument, or NotFound when the file itself is missing. Main thread, at start.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/describer.h"
#include "config/names.h"
#include "config/node.h"
#include "config/predecessor.h"
#include "config/printer.h"
#include "config/products.h"
#include "config/reader.h"
#include "config/validate.h"

namespace config {

// Where a configuration comes from.
struct Source {
  std::string file;                 // Empty: none.
  std::vector<Override> defaults;   // In force where the file says nothing.
  std::vector<Override> overrides;  // Win over the file; the last of one path wins.
};

template <class Product>
struct LoadResult {
  Product config;
  Places places;  // Of what was written.
  std::vector<std::string> warnings;  // Whole lines, for the log.
};

// The TOML file as a tree. NotFound when there is no such file.
absl::StatusOr<Node> ReadFile(const std::string& file);
// The same of `text`, which errors call `name`.
absl::StatusOr<Node> ReadText(const std::string& text, const std::string& name);

namespace internal {

template <class Product>
absl::Status Modernize(Node* root, std::vector<std::string>* warnings) {
  if constexpr (std::is_same_v<Product, MomentoProxy>) return ModernizeProxy(root, warnings);
  if constexpr (std::is_same_v<Product, Segcache>) return ModernizeSegcache(root, warnings);
  if constexpr (std::is_same_v<Product, Pingserver>) return ModernizePingserver(root, warnings);
  return absl::OkStatus();
}

// Puts both kinds of override into the tree, defaults only where it is silent.
absl::Status ApplyAll(const Source& source, Node* root);

// Fills a product from a tree in our keys and validates it.
template <class Product>
absl::StatusOr<Product> Build(const Node& root, Places* places = nullptr) {
  const std::vector<std::string> names = Names::Of<Product>();
  Product product;
  Reader reader(&root, &names);
  product.Visit(reader);
  reader.Finish();
  absl::Status status = reader.status();
  if (status.ok()) status = Validate(product, reader.places());
  if (!status.ok()) return status;
  if (places != nullptr) *places = reader.places();
  return product;
}

}  // namespace internal

// Loads a product. Keys that nobody wrote keep the defaults of the struct.
template <class Product>
absl::StatusOr<LoadResult<Product>> Load(const Source& source) {
  LoadResult<Product> result;
  Node root;
  if (!source.file.empty()) {
    absl::StatusOr<Node> read = ReadFile(source.file);
    if (!read.ok()) return read.status();
    root = *std::move(read);
    absl::Status status = internal::Modernize<Product>(&root, &result.warnings);
    if (!status.ok()) return status;
  }
  absl::Status status = internal::ApplyAll(source, &root);
  if (!status.ok()) return status;
  absl::StatusOr<Product> product = internal::Build<Product>(root, &result.places);
  if (!product.ok()) return product.status();
  result.config = *std::move(product);
  return result;
}

// The effective configuration as TOML; loading it gives the same struct, but for secrets ("***").
template <class Product>
std::string Print(const Product& product) {
  return Printer::Print(product);
}

// Every knob of a product, a line each: path, type and range, default, whether a running process
// takes it over on SIGHUP ("live") or not ("restart"), sentence.
template <class Product>
std::string Describe() {
  return Table(Describer::Knobs<Product>());
}

}  // namespace config
