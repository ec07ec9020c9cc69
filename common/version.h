// The version of Leeway and how it was built.
//
// Thread safety: pure functions.
#pragma once

#include <string>

namespace leeway {

inline constexpr char kVersion[] = "0.1.0";

// "g++ 12.2.0"
std::string Compiler();

// "ps 0.1.0 (protocol 1, g++ 12.2.0, optimized)": what --version prints for `program`.
std::string VersionLine(const std::string& program);

}  // namespace leeway
