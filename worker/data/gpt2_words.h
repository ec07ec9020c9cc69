// Gpt2Words: cuts a text into the words that GPT-2's byte pair encoding works on, each by itself. The rule is OpenAI's:
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// Thread safety: an object is for one thread at a time.
#pragma once

#include <string_view>

#include "re2/re2.h"

namespace leeway {

class Gpt2Words {
 public:
  // `text` must outlive this object.
  explicit Gpt2Words(std::string_view text);
  // The next word, never empty; false behind the last. All words together are the text. A byte that is no UTF-8 is a
  // word of its own.
  bool Next(std::string_view* word);

 private:
  std::string_view rest_;
  const RE2 word_, spaces_;
};

}  // namespace leeway
