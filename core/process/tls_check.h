// Looks into the certificates and keys that a configuration names, so that --check and a start refuse
// what no client could be served with, at the line that says so.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/listeners.h"
#include "config/reader.h"

namespace core {

// The first complaint as config::Complaint() spells it, or OK. What works and will not for long, or
// not for clients, is added to `warnings`, whole lines for the log.
absl::Status CheckTls(const std::vector<config::PlacedListener>& listeners,
                      const config::Places& places, std::vector<std::string>* warnings);

}  // namespace core
