#include "worker/data/gpt2_words.h"

namespace leeway {
namespace {

// Unicode's White_Space; RE2's \s is ASCII's alone.
#define LEEWAY_SPACE "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
constexpr char kWord[] = "('s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" LEEWAY_SPACE "\\p{L}\\p{N}]+)";
// With its last character by itself.
constexpr char kSpaces[] = "([" LEEWAY_SPACE "]*)([" LEEWAY_SPACE "])";
#undef LEEWAY_SPACE

}  // namespace

Gpt2Words::Gpt2Words(std::string_view text) : rest_(text), word_(kWord), spaces_(kSpaces) {}

bool Gpt2Words::Next(std::string_view* word) {
  if (rest_.empty()) return false;
  const re2::StringPiece rest(rest_.data(), rest_.size());
  re2::StringPiece match[3];
  std::size_t size = 1;
  if (word_.Match(rest, 0, rest.size(), RE2::ANCHOR_START, match, 1)) {
    size = match[0].size();
  } else if (spaces_.Match(rest, 0, rest.size(), RE2::ANCHOR_START, match, 3)) {
    // \s+(?!\S): the last space before something else goes with that, unless it is the only one.
    const bool last_goes = match[0].size() < rest.size() && !match[1].empty();
    size = last_goes ? match[1].size() : match[0].size();
  }
  *word = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return true;
}

}  // namespace leeway
