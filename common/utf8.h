// UTF-8 of text from outside: lengths of its sequences, and a copy that is UTF-8 whatever came.
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

// `text` in printable UTF-8, at most `most` bytes of it: a byte that belongs to no sequence, and a control character,
// becomes U+FFFD.
std::string PrintableUtf8(absl::string_view text, std::size_t most);

}  // namespace leeway
