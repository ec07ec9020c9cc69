// Numbers and text for people: tables, reports, axis labels. No locale: the same on every machine.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>

namespace leeway {

// For text and for attribute values in quotes. Control characters become spaces.
std::string EscapeHtml(const std::string& text);

inline constexpr const char* kNothing = "\u2013";  // shown where a number is missing or not finite

std::string FormatCount(std::uint64_t count);          // "1,234,567"
std::string FormatFixed(double value, int decimals);   // "0.25"; nothing if not finite
std::string FormatShort(double value);                 // four significant digits: "12.35", "1.2e+07"
std::string FormatSeconds(double seconds);             // "0", "850 us", "12.3 ms", "4.56 s", "2 min 05 s", "3 h 02 min"
std::string FormatBytes(double bytes);                 // "1.2 MiB"
std::string FormatPercent(double part, double whole);  // "12.3 %"; nothing where whole is not positive

}  // namespace leeway
