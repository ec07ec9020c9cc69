// UTF-8 of text from outside: lengths of its sequences, and copies that are UTF-8 and printable whatever came.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace leeway {

inline constexpr char kReplacementCharacter[] = "\xef\xbf\xbd";  // U+FFFD

// The length of the well-formed UTF-8 sequence at the head of `text`, which is not empty (RFC 3629: no overlong forms,
// no surrogates, nothing above U+10FFFF), or 0.
std::size_t Utf8Length(absl::string_view text);

bool IsUtf8(absl::string_view text);

// As Utf8Length, but 0 also for what a terminal or a reader of one line takes for more than a character: control
// characters (of ASCII, and U+0080 to U+009F), line separators, and marks that turn the direction of writing round.
std::size_t PrintableLength(absl::string_view text);

// `text` in printable UTF-8, at most `most` bytes of it: a byte that belongs to no sequence, and a character that is
// not printable, becomes U+FFFD.
std::string PrintableUtf8(absl::string_view text, std::size_t most);

// All of `text` on one line of printable UTF-8: "\n" for a line break, "\x1b" for any other byte of what is not
// printable.
std::string EscapeUnprintable(absl::string_view text);

}  // namespace leeway
