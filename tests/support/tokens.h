// One token of each role, and the file that lets them in.
//
// Thread safety: constants.
#pragma once

namespace leeway {

inline constexpr char kObserverToken[] = "token-of-the-observer";
inline constexpr char kWorkerToken[] = "token-of-the-worker";
inline constexpr char kAdminToken[] = "token-of-the-admin";

inline constexpr char kTokensFile[] = R"(
# comments and empty lines are nothing
observer 2608b4bf814fd01c7de4bdfe297c973f25e2233d53974495c4b575ee17f2f611 grafana
worker   9352ea706883ff964f8402a72b87b29bb7d49141e116b2b50bce0416c9c4fc43
admin    aaddc6ad845b94e8bdc1e2b34370bac682c47327fbe6b049f65bd743159ed583 alice  # of the operators
)";

}  // namespace leeway
