// RETURN_IF_ERROR, ASSIGN_OR_RETURN: hand an error on to the caller.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define LEEWAY_CONCAT_INNER(a, b) a##b
#define LEEWAY_CONCAT(a, b) LEEWAY_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                                                           \
  do {                                                                                        \
    if (absl::Status leeway_status = (expression); !leeway_status.ok()) return leeway_status; \
  } while (false)

// ASSIGN_OR_RETURN(auto x, F()): `x` gets the value of F(), or the function returns F()'s error.
#define ASSIGN_OR_RETURN(left, expression) \
  ASSIGN_OR_RETURN_INNER(LEEWAY_CONCAT(leeway_statusor_, __LINE__), left, expression)
#define ASSIGN_OR_RETURN_INNER(holder, left, expression) \
  auto holder = (expression);                            \
  if (!holder.ok()) return std::move(holder).status();   \
  left = std::move(holder).value()
