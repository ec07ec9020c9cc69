// `leeway tokenize --merges=FILE TEXT... -o OUT.bin`: texts as files of tokens, by GPT-2's byte pair encoding.
//
// Thread safety: called once, from main.
#pragma once

#include <string>
#include <vector>

namespace leeway {

// `words`: what follows the verb. Returns the exit code.
int RunTokenize(const std::vector<std::string>& words, int argc, char** argv);

}  // namespace leeway
