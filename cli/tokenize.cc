#include "cli/tokenize.h"

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/flags/flag.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/output_flag.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/status_macros.h"
#include "worker/data/bpe.h"
#include "worker/data/input_file.h"
#include "worker/data/tokens.h"

ABSL_FLAG(std::string, merges, "",
          "leeway tokenize: the merges of a byte pair encoding, as GPT-2's merges.txt (also called vocab.bpe), or its "
          "ranks, as tiktoken's gpt2.tiktoken");

namespace leeway {
namespace {

// A line for people.
absl::StatusOr<std::string> Tokenize(const std::vector<std::string>& texts) {
  const std::string merges = absl::GetFlag(FLAGS_merges), output = GivenOutput();
  if (merges.empty()) return FlagError("merges", "", "a file of merges, as GPT-2's merges.txt");
  if (!absl::EndsWith(output, ".bin")) {
    return FlagError("output", output, "the file to write the tokens to, whose name ends in .bin");
  }
  std::vector<std::string> inputs = texts;
  inputs.push_back(merges);
  for (const std::string& input : inputs) {
    std::error_code error;
    if (!std::filesystem::equivalent(output, input, error)) continue;
    return FlagError("output", output, absl::StrCat("another file than its inputs; it is ", input));
  }
  ASSIGN_OR_RETURN(const BpeEncoder encoder, BpeEncoder::FromFile(merges));
  std::vector<std::uint16_t> tokens;
  std::uint64_t bytes = 0;
  for (const std::string& path : texts) {
    ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
    if (text.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": is empty"));
    encoder.Encode(text, &tokens);
    if (texts.size() > 1) tokens.push_back(encoder.end_of_text());
    bytes += text.size();
  }
  RETURN_IF_ERROR(WriteTokenFile(RealFileSystem(), output, tokens));
  std::string line =
      absl::StrCat(output, ": ", tokens.size(), " tokens of ", bytes, " bytes, vocabulary ", encoder.vocabulary());
  if (encoder.vocabulary() != kGpt2Vocabulary) {
    absl::StrAppend(&line, "; train on it with --model=gpt:...,vocab=", encoder.vocabulary());
  }
  return line + "\n";
}

}  // namespace

int RunTokenize(const std::vector<std::string>& words, int, char**) {
  if (words.empty()) {
    ExitWithError(absl::InvalidArgumentError("usage: leeway tokenize --merges=FILE TEXT... -o OUT.bin"));
  }
  const absl::StatusOr<std::string> line = Tokenize(words);
  if (!line.ok()) ExitWithError(line.status());
  std::fputs(line->c_str(), stdout);
  return 0;
}

}  // namespace leeway
