// What no single knob can know: whether the values fit together and the files they name are there.
#pragma once

#include "absl/status/status.h"
#include "config/products.h"
#include "config/reader.h"

namespace config {

// The first contradiction, as "place: path: what", or OK. Touches the file system only to see
// whether named files can be read, and how much memory there is.
absl::Status Validate(const MomentoProxy& proxy, const Places& places);
absl::Status Validate(const Segcache& segcache, const Places& places);
absl::Status Validate(const Pingserver& pingserver, const Places& places);
absl::Status Validate(const MomentoLocal& local, const Places& places);

}  // namespace config
