#include "cli/output_flag.h"

#include "absl/flags/flag.h"
#include "common/flags.h"

ABSL_FLAG(
    std::string, output, "",
    "of leeway status, top, workers, set, drain, bench, study, why and checkpoint list, verify, diff, now: table (the "
    "default) or json; of leeway checkpoint reshard: the directory to write to; of leeway export: the file to "
    "write");
ABSL_FLAG(std::string, o, "", "short for --output");

namespace leeway {

std::string GivenOutput() { return FlagGiven("o") ? absl::GetFlag(FLAGS_o) : absl::GetFlag(FLAGS_output); }

absl::StatusOr<bool> WantsJson() {
  const std::string output = GivenOutput();
  if (output == "json") return true;
  if (output == "table" || (output.empty() && !FlagGiven("o") && !FlagGiven("output"))) return false;
  return FlagError(FlagGiven("o") ? "o" : "output", output, "table, json");
}

}  // namespace leeway
