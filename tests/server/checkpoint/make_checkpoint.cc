// make_checkpoint DIR STEP ELEMENTS SHARDS SLOTS SEED: a made-up checkpoint (checkpoint_fixture.h) in DIR, for tests of
// programs that read one.
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "common/files.h"
#include "tests/server/checkpoint/checkpoint_fixture.h"

int main(int argc, char** argv) {
  std::vector<std::uint64_t> numbers(5);
  bool good = argc == 7;
  for (int i = 0; good && i < 5; ++i) good = absl::SimpleAtoi(argv[2 + i], &numbers[static_cast<std::size_t>(i)]);
  if (!good) {
    std::fputs("usage: make_checkpoint DIR STEP ELEMENTS SHARDS SLOTS SEED\n", stderr);
    return 1;
  }
  leeway::MadeUp made;
  made.step = numbers[0];
  made.elements = numbers[1];
  made.num_shards = static_cast<std::uint32_t>(numbers[2]);
  made.slots = static_cast<std::uint32_t>(numbers[3]);
  made.seed = numbers[4];
  const absl::Status status = leeway::SaveMadeUp(leeway::RealFileSystem(), argv[1], made);
  if (!status.ok()) std::fprintf(stderr, "make_checkpoint: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
