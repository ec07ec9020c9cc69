#include "common/utf8.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace leeway {
namespace {

bool IsControl(absl::string_view sequence) {
  const auto lead = static_cast<unsigned char>(sequence[0]);
  if (lead < 0x20 || lead == 0x7f) return true;
  if (lead == 0xc2) return static_cast<unsigned char>(sequence[1]) < 0xa0;  // U+0080 to U+009F
  // U+200E and U+200F; U+2028 to U+202E; U+2066 to U+2069.
  if (sequence.substr(0, 2) == "\xe2\x80") {
    const auto last = static_cast<unsigned char>(sequence[2]);
    return last == 0x8e || last == 0x8f || (last >= 0xa8 && last <= 0xae);
  }
  if (sequence.substr(0, 2) != "\xe2\x81") return false;
  const auto last = static_cast<unsigned char>(sequence[2]);
  return last >= 0xa6 && last <= 0xa9;
}

}  // namespace

std::size_t Utf8Length(absl::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                             : lead >= 0xe0 && lead <= 0xef ? 3
                             : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                            : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return 0;
  if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) return 0;
  return length;
}

bool IsUtf8(absl::string_view text) {
  while (!text.empty()) {
    const std::size_t length = Utf8Length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::size_t PrintableLength(absl::string_view text) {
  const std::size_t length = Utf8Length(text);
  return length == 0 || IsControl(text) ? 0 : length;
}

std::string PrintableUtf8(absl::string_view text, std::size_t most) {
  std::string out;
  while (!text.empty()) {
    const std::size_t printable = PrintableLength(text);
    const absl::string_view piece =
        printable > 0 ? text.substr(0, printable) : absl::string_view(kReplacementCharacter);
    if (out.size() + piece.size() > most) break;
    out.append(piece.data(), piece.size());
    text.remove_prefix(std::max<std::size_t>(Utf8Length(text), 1));
  }
  return out;
}

std::string EscapeUnprintable(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t printable = PrintableLength(text);
    if (printable > 0) {
      out.append(text.data(), printable);
    } else if (text[0] == '\n') {
      out += "\\n";
    } else {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<unsigned char>(text[0]));
    }
    // (The rest of a longer sequence is no sequence, and is escaped byte by byte.)
    text.remove_prefix(std::max<std::size_t>(printable, 1));
  }
  return out;
}

}  // namespace leeway
