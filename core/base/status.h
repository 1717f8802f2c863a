// The two macros that carry failures of the outside world upwards.
//
// absl::Status is for config files, sockets and calls to other machines; it never travels on the
// hit/miss path, where small enums do.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define MP_CONCAT_INNER(a, b) a##b
#define MP_CONCAT(a, b) MP_CONCAT_INNER(a, b)

// Returns from the enclosing function when `expr` (an absl::Status) is not OK.
#define RETURN_IF_ERROR(expr)                         \
  do {                                                \
    absl::Status mp_status = (expr);                  \
    if (!mp_status.ok()) [[unlikely]] {               \
      return mp_status;                               \
    }                                                 \
  } while (false)

// Assigns the value of `expr` (an absl::StatusOr) to `lhs`, or returns its status.
#define ASSIGN_OR_RETURN(lhs, expr) \
  MP_ASSIGN_OR_RETURN_IMPL(MP_CONCAT(mp_status_or_, __LINE__), lhs, expr)
#define MP_ASSIGN_OR_RETURN_IMPL(var, lhs, expr) \
  auto var = (expr);                             \
  if (!var.ok()) [[unlikely]] {                  \
    return std::move(var).status();              \
  }                                              \
  lhs = *std::move(var)
