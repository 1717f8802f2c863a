// A whole load: connect, store every key, warm up, measure.
#pragma once

#include "absl/status/statusor.h"
#include "tools/load/report.h"

namespace tools::load {

// UNAVAILABLE or NOT_FOUND without a server or without --pid's process; FAILED_PRECONDITION if the
// keys could not be stored. Faults during the measured part are in the report.
absl::StatusOr<Report> Run(const Options& options);

}  // namespace tools::load
