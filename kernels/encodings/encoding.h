// Encodings: the values of one block as they travel (proto/parameter_server.proto, Encoding), there and back.
//
// Thread safety: pure functions. Ownership: the caller's memory throughout.
// Invariants: the same bytes and the same floats on every instruction set. A decoder reads what a stranger may have
// written: it checks sizes and indices before it writes, and reads nothing past the payload.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "common/buffer.h"
#include "proto/parameter_server.pb.h"

namespace leeway {

// How many values TOP_K keeps of a block of `count`: ceil(fraction * count), at least 1. Requires count > 0,
// 0 < fraction <= 1.
std::size_t TopKCount(double fraction, std::size_t count);

// The bytes of an encoded block of `count` values; for TOP_K with `kept` of them.
std::size_t EncodedBytes(v1::Encoding encoding, std::size_t count, std::size_t kept = 0);

// Writes `values` [count] encoded to `out` (EncodedBytes of room) and returns the end of what it wrote. TOP_K keeps
// the `kept` greatest magnitudes, of equal ones those with the lower index.
//
// With `residual` [count] (it may be `values` itself) it also stores there what the encoding left out:
// residual[i] = values[i] - decoded[i]. Requires finite values, and then what it writes decodes to finite values, the
// residual is finite, and exact: decoded[i] + residual[i] == values[i], without any rounding.
char* EncodeBlock(v1::Encoding encoding, const float* values, std::size_t count, std::size_t kept, char* out,
                  float* residual = nullptr);

// Reads one block of `count` values from byte `at` of `payload` into `out` [count]; returns where the next block
// begins. INVALID_ARGUMENT: the payload ends before the block does, a TOP_K count above `count`, indices that do not
// ascend or reach beyond the block, an encoding that is none. Non-finite values are not looked for.
absl::StatusOr<std::size_t> DecodeBlock(v1::Encoding encoding, const Buffer& payload, std::size_t at, std::size_t count,
                                        float* out);

// As DecodeBlock, but adds the values to `out`.
absl::StatusOr<std::size_t> DecodeAddBlock(v1::Encoding encoding, const Buffer& payload, std::size_t at,
                                           std::size_t count, float* out);

// The checks of DecodeBlock alone; returns where the next block begins.
absl::StatusOr<std::size_t> CheckBlock(v1::Encoding encoding, const Buffer& payload, std::size_t at, std::size_t count);

}  // namespace leeway
