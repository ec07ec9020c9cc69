// StreamCopy copies what it is asked to, at every alignment, and nothing beside it.
#include "common/stream_copy.h"

#include <vector>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("StreamCopy: every size and alignment") {
  std::vector<char> from(600);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>(i * 7 + 1);
  for (const std::size_t size : {0, 1, 3, 15, 16, 63, 64, 65, 127, 128, 129, 300, 455}) {
    for (std::size_t shift = 0; shift < 64; ++shift) {
      for (const std::size_t offset : {0, 1, 4, 17}) {
        std::vector<char> to(600, '\0');
        StreamCopy(from.data() + offset, size, to.data() + shift);
        std::vector<char> expected(600, '\0');
        std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(offset), size,
                    expected.begin() + static_cast<std::ptrdiff_t>(shift));
        REQUIRE(to == expected);
      }
    }
  }
}

}  // namespace
}  // namespace leeway
