#include "common/version.h"

#include "absl/strings/str_cat.h"
#include "common/protocol_version.h"

namespace leeway {
namespace {

#if defined(__clang__)
constexpr char kCompiler[] = "clang " __clang_version__;
#else
constexpr char kCompiler[] = "g++ " __VERSION__;
#endif

#if defined(NDEBUG)
constexpr char kMode[] = "optimized";
#else
constexpr char kMode[] = "not optimized";
#endif

}  // namespace

std::string Compiler() { return kCompiler; }

std::string VersionLine(const std::string& program) {
  return absl::StrCat(program, " ", kVersion, " (protocol ", kProtocolVersion, ", ", kCompiler, ", ", kMode, ")");
}

}  // namespace leeway
