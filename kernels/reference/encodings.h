// The encodings of kernels/encodings/encoding.h by their definitions, as plainly as can be: what the fast ones are
// tested against, byte by byte.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "proto/parameter_server.pb.h"

namespace leeway::reference {

// Requires finite values (BF16: any), kept <= values.size().
std::string EncodeBlock(v1::Encoding encoding, const std::vector<float>& values, std::size_t kept);

// Requires bytes that EncodeBlock wrote.
std::vector<float> DecodeBlock(v1::Encoding encoding, const std::string& bytes, std::size_t count);

}  // namespace leeway::reference
