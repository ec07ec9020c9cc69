// Reader of texts as tokens: of any file byte by byte, and of files of tokens, which it also writes.
//
//   FILE.bin     tokens as 16-bit numbers, little-endian: plain (nanoGPT's), or behind the header of 256 32-bit numbers
//                that llm.c's GPT-2 files have (20240520, version 1, number of tokens)
//   other names  the bytes of the file, plain or gzip-compressed: a vocabulary of 256
//
// Nothing in a file is believed before it is checked: memory grows with the bytes that are really there.
//
// Thread safety: pure functions of the files.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/files.h"
#include "worker/data/dataset.h"

namespace leeway {

inline constexpr std::uint32_t kGpt2Vocabulary = 50257;

struct TokenOptions {
  std::uint32_t context = 0;     // tokens of a record; 0: the model takes no tokens
  std::uint32_t vocabulary = 0;  // 0: 256 for bytes, GPT-2's 50257 for files of tokens
};

// With an empty `test_path`, the first nine tenths of the windows of `path` are the training split, the rest, at least
// one, the test split; else each split is a file of its own. Errors name the file: those of InputFile;
// INVALID_ARGUMENT: too few tokens, a token outside the vocabulary, a file of tokens of an odd size, of another version
// or for another tokenizer, more than 2^32 tokens; DATA_LOSS: a header that announces another number of tokens than
// the file has.
absl::StatusOr<Dataset> LoadTokens(const std::string& path, const std::string& test_path, Split split,
                                   const TokenOptions& options);

// Writes `path` behind llm.c's header; whole or not at all. INVALID_ARGUMENT: 2^32 tokens and more. Else the file
// system's errors.
absl::Status WriteTokenFile(FileSystem& files, const std::string& path, absl::Span<const std::uint16_t> tokens);

}  // namespace leeway
