// BpeEncoder: GPT-2's byte pair encoding of texts, with the merges of a file.
//
// A token is a string of bytes. Each word (gpt2_words.h) begins as single bytes; of all neighbours that together are a
// token, those that make the one with the least number are joined, from left to right, until none are left. Numbers
// are GPT-2's: the 256 bytes (printable ones first), then the merges in their order, then the end of text.
//
// Thread safety: immutable after construction.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"

namespace leeway {

class BpeEncoder {
 public:
  // A file of ranks, if its name ends in .tiktoken ("BASE64 NUMBER" per line), else a file of merges as GPT-2's
  // merges.txt or vocab.bpe ("LEFT RIGHT" per line, behind an optional "#version" line). Errors name file and line:
  // ReadTextFile's; INVALID_ARGUMENT: a line that is neither, a part that no earlier line made, a token that is there
  // twice, numbers with gaps, not all 256 bytes, more than 65,535 tokens.
  static absl::StatusOr<BpeEncoder> FromFile(const std::string& path);

  // With the end of text.
  std::uint32_t vocabulary() const { return static_cast<std::uint32_t>(numbers_.size()) + 1; }
  std::uint16_t end_of_text() const { return static_cast<std::uint16_t>(numbers_.size()); }

  // Appends the tokens of `text`. It is not looked for the end of text in it.
  void Encode(std::string_view text, std::vector<std::uint16_t>* tokens) const;

 private:
  BpeEncoder() = default;
  absl::Status AddMerges(const std::string& path, std::string_view text);
  absl::Status AddRanks(const std::string& path, std::string_view text);
  // False: it is there.
  bool Add(std::string token, std::uint16_t number);
  void EncodeWord(std::string_view word, std::vector<std::uint16_t>* tokens) const;

  std::deque<std::string> storage_;  // what the keys refer to
  std::unordered_map<std::string_view, std::uint16_t> numbers_;
};

}  // namespace leeway
