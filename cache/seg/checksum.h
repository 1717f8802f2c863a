// One checksum of much memory, worked out on all processors.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace seg {

// XXH3 over the XXH3 of each megabyte of each piece, in order. Starts threads of its own that end
// before it returns; `cancelled` is asked now and then, by the caller's thread, and ends it early
// with nothing.
std::optional<uint64_t> ChecksumOf(const std::vector<absl::string_view>& pieces,
                                   absl::FunctionRef<bool()> cancelled);

}  // namespace seg
