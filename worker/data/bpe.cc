#include "worker/data/bpe.h"

#include <array>
#include <queue>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/gpt2_words.h"
#include "worker/data/input_file.h"
#include "worker/data/text.h"

namespace leeway {
namespace {

constexpr std::size_t kMaxTokens = 65535;  // and the end of text: 16 bits

bool IsPrintable(int byte) { return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad); }

// GPT-2 numbers the printable bytes of Latin-1 first, then the others.
std::array<int, 256> BytesInOrder() {
  std::array<int, 256> order;
  std::size_t at = 0;
  for (const bool printable : {true, false}) {
    for (int byte = 0; byte < 256; ++byte) {
      if (IsPrintable(byte) == printable) order[at++] = byte;
    }
  }
  return order;
}

// A part of a line of merges, whose letters stand for bytes: printable ones for themselves, the n-th of the others is
// U+0100 + n. False: another letter.
bool ToBytes(std::string_view letters, std::string* bytes) {
  static const std::array<int, 256> order = BytesInOrder();
  constexpr std::size_t kPrintable = 188;
  for (std::size_t i = 0; i < letters.size(); ++i) {
    unsigned letter = static_cast<unsigned char>(letters[i]);
    if (letter >= 0x80) {
      // Two bytes of UTF-8: the letters go up to U+0143.
      if (letter < 0xc2 || letter > 0xdf || i + 1 == letters.size()) return false;
      letter = (letter & 0x1f) << 6 | (static_cast<unsigned char>(letters[++i]) & 0x3f);
    }
    if (letter >= 0x100 && letter - 0x100 < 256 - kPrintable) {
      letter = static_cast<unsigned>(order[kPrintable + letter - 0x100]);
    } else if (letter > 0xff || !IsPrintable(static_cast<int>(letter))) {
      return false;
    }
    bytes->push_back(static_cast<char>(letter));
  }
  return true;
}

absl::Status LineError(const std::string& path, std::uint64_t line, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": line ", line, ": ", what));
}

}  // namespace

absl::StatusOr<BpeEncoder> BpeEncoder::FromFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  BpeEncoder encoder;
  RETURN_IF_ERROR(absl::EndsWith(path, ".tiktoken") ? encoder.AddRanks(path, text) : encoder.AddMerges(path, text));
  return encoder;
}

bool BpeEncoder::Add(std::string token, std::uint16_t number) {
  storage_.push_back(std::move(token));
  return numbers_.emplace(storage_.back(), number).second;
}

absl::Status BpeEncoder::AddMerges(const std::string& path, std::string_view text) {
  for (const int byte : BytesInOrder()) {
    Add(std::string(1, static_cast<char>(byte)), static_cast<std::uint16_t>(numbers_.size()));
  }
  Lines lines(text);
  std::string_view line;
  while (lines.Next(&line)) {
    // Only as the first line: "# #" is a merge, too.
    if (lines.number() == 1 && line.substr(0, 8) == "#version") continue;
    const std::size_t space = line.find(' ');
    std::string left, right;
    if (space == std::string_view::npos || !ToBytes(line.substr(0, space), &left) ||
        !ToBytes(line.substr(space + 1), &right) || left.empty() || right.empty()) {
      return LineError(path, lines.number(), absl::StrCat(Quoted(line), " is no merge of two tokens"));
    }
    for (const std::string& part : {left, right}) {
      if (numbers_.count(part) == 0) {
        return LineError(path, lines.number(), absl::StrCat("no line before made ", Quoted(part)));
      }
    }
    if (numbers_.size() == kMaxTokens) {
      return LineError(path, lines.number(), absl::StrCat("more than ", kMaxTokens, " tokens"));
    }
    if (!Add(left + right, static_cast<std::uint16_t>(numbers_.size()))) {
      return LineError(path, lines.number(), absl::StrCat("the token ", Quoted(left + right), " is there before"));
    }
  }
  return absl::OkStatus();
}

absl::Status BpeEncoder::AddRanks(const std::string& path, std::string_view text) {
  Lines lines(text);
  std::string_view line;
  std::set<std::uint32_t> numbers;
  while (lines.Next(&line)) {
    const std::size_t space = line.find(' ');
    std::string token;
    std::uint32_t number = 0;
    if (space == std::string_view::npos || !absl::Base64Unescape(absl::string_view(line.data(), space), &token) ||
        token.empty() || !absl::SimpleAtoi(std::string(line.substr(space + 1)), &number)) {
      return LineError(path, lines.number(), absl::StrCat(Quoted(line), " is no token in base64 with its number"));
    }
    if (number >= kMaxTokens) {
      return LineError(path, lines.number(), absl::StrCat("number ", number, "; at most ", kMaxTokens, " tokens"));
    }
    if (!Add(token, static_cast<std::uint16_t>(number)) || !numbers.insert(number).second) {
      return LineError(path, lines.number(), absl::StrCat("token ", Quoted(token), " or number ", number, " twice"));
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char letter = static_cast<char>(byte);
    if (numbers_.count(std::string_view(&letter, 1)) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": there is no token for the byte ", byte));
    }
  }
  if (*numbers.rbegin() + 1 != numbers.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", numbers.size(), " tokens, but numbers up to ", *numbers.rbegin()));
  }
  return absl::OkStatus();
}

void BpeEncoder::Encode(std::string_view text, std::vector<std::uint16_t>* tokens) const {
  Gpt2Words words(text);
  std::string_view word;
  while (words.Next(&word)) EncodeWord(word, tokens);
}

void BpeEncoder::EncodeWord(std::string_view word, std::vector<std::uint16_t>* tokens) const {
  if (const auto whole = numbers_.find(word); whole != numbers_.end()) {
    tokens->push_back(whole->second);
    return;
  }
  // Parts are named by where they begin; next[part] is where the next one does. The queue has every pair that was seen
  // to be a token: a word of any length costs n log n. A pair whose parts have changed since is passed over.
  const std::size_t size = word.size();
  std::vector<std::size_t> next(size + 1), previous(size + 1);
  for (std::size_t i = 0; i <= size; ++i) next[i] = i + 1, previous[i] = i - 1;
  struct Pair {
    std::uint16_t number;
    std::size_t begin, middle, end;
    bool operator<(const Pair& other) const {  // the least number is the queue's top, the leftmost of equals
      return number != other.number ? number > other.number : begin > other.begin;
    }
  };
  std::priority_queue<Pair> pairs;
  const auto look_at = [&](std::size_t begin) {
    const std::size_t middle = next[begin];
    if (middle >= size) return;
    const auto found = numbers_.find(word.substr(begin, next[middle] - begin));
    if (found != numbers_.end()) pairs.push({found->second, begin, middle, next[middle]});
  };
  constexpr std::size_t kGone = static_cast<std::size_t>(-1);
  for (std::size_t i = 0; i < size; ++i) look_at(i);
  while (!pairs.empty()) {
    const Pair pair = pairs.top();
    pairs.pop();
    if (next[pair.begin] != pair.middle || next[pair.middle] != pair.end) continue;
    next[pair.begin] = pair.end;
    next[pair.middle] = kGone;
    previous[pair.end] = pair.begin;
    look_at(pair.begin);
    if (pair.begin > 0) look_at(previous[pair.begin]);
  }
  for (std::size_t i = 0; i < size; i = next[i]) tokens->push_back(numbers_.at(word.substr(i, next[i] - i)));
}

}  // namespace leeway
