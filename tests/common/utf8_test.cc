#include "common/utf8.h"

#include <string>
#include <utility>

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("what is no UTF-8 and what is not printable becomes U+FFFD") {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},
      {"worker-1", "worker-1"},
      {"\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80"},
      {"a\xff", "a\xef\xbf\xbd"},
      {"a\nb\x7f", "a\xef\xbf\xbd\x62\xef\xbf\xbd"},
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},  // a surrogate
  };
  for (const auto& [text, expected] : cases) CHECK(PrintableUtf8(text, 100) == expected);
  CHECK(PrintableUtf8(absl::string_view("a\0b", 3), 100) == "a\xef\xbf\xbd\x62");
}

TEST_CASE("what is UTF-8") {
  CHECK(IsUtf8(""));
  CHECK(IsUtf8("a\xe2\x82\xac\n"));
  CHECK_FALSE(IsUtf8("a\xe2\x82"));
  CHECK_FALSE(IsUtf8("\xc0\xaf"));
}

TEST_CASE("it is cut between characters") {
  CHECK(PrintableUtf8("\xe2\x82\xac\xe2\x82\xac", 5) == "\xe2\x82\xac");
  CHECK(PrintableUtf8("abc", 2) == "ab");
  CHECK(PrintableUtf8("a\xff", 3) == "a");
}

}  // namespace
}  // namespace leeway
