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
      {"\xc2\x9b\x31m", "\xef\xbf\xbd\x31m"},                    // U+009B begins an escape sequence, as ESC [ does
      {"\xc2\xa0\xe2\x80\x8d", "\xc2\xa0\xe2\x80\x8d"},          // U+00A0, U+200D
      {"\xe2\x80\xae\xe2\x80\xa8", "\xef\xbf\xbd\xef\xbf\xbd"},  // U+202E, U+2028
      {"\xe2\x81\xa6\xe2\x81\xaa", "\xef\xbf\xbd\xe2\x81\xaa"},  // U+2066, U+206A
  };
  for (const auto& [text, expected] : cases) CHECK(PrintableUtf8(text, 100) == expected);
  CHECK(PrintableUtf8(absl::string_view("a\0b", 3), 100) == "a\xef\xbf\xbd\x62");
}

TEST_CASE("text from outside on one line") {
  const std::pair<const char*, const char*> cases[] = {
      {"worker-1 \xe2\x82\xac", "worker-1 \xe2\x82\xac"},
      {"a\n2026 E ps-0: forged", "a\\n2026 E ps-0: forged"},
      {"\x1b[2J\r\x07", "\\x1b[2J\\x0d\\x07"},
      {"\xc2\x9b\xff\xe2\x80\xae", "\\xc2\\x9b\\xff\\xe2\\x80\\xae"},
  };
  for (const auto& [text, expected] : cases) CHECK(EscapeUnprintable(text) == expected);
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
