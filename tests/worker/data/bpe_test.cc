// GPT-2's byte pair encoding: its words, its tokens against tiktoken's, files of merges that are refused.
#include "worker/data/bpe.h"

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/worker/data/support.h"
#include "worker/data/gpt2_words.h"

namespace leeway {
namespace {

#include "tests/worker/data/bpe_golden.inc"

using Catch::Contains;
using Words = std::vector<std::string>;

constexpr char kMerges[] = "tests/worker/data/bpe_merges.txt";

Words WordsOf(const std::string& text) {
  Gpt2Words words(text);
  Words all;
  std::string_view word;
  while (words.Next(&word)) all.emplace_back(word);
  return all;
}

std::vector<std::uint16_t> Encode(const BpeEncoder& encoder, const std::string& text) {
  std::vector<std::uint16_t> tokens;
  encoder.Encode(text, &tokens);
  return tokens;
}

TEST_CASE("words: letters, numbers and the rest apart, a space goes with what follows it") {
  CHECK(WordsOf("") == Words{});
  CHECK(WordsOf("Hello world, it's 2014!") == Words{"Hello", " world", ",", " it", "'s", " 2014", "!"});
  CHECK(WordsOf("a   b") == Words{"a", "  ", " b"});
  CHECK(WordsOf("a \n b\n") == Words{"a", " \n", " b", "\n"});
  CHECK(WordsOf("a\nb  ") == Words{"a", "\n", "b", "  "});
  CHECK(WordsOf("a\xc2\xa0 b") == Words{"a", "\xc2\xa0", " b"});
  CHECK(WordsOf("ab\xff\xfe") == Words{"ab", "\xff", "\xfe"});
}

TEST_CASE("tokens are tiktoken's, from merges and from ranks") {
  const absl::StatusOr<BpeEncoder> encoder = BpeEncoder::FromFile(kMerges);
  INFO(encoder.status().ToString());
  REQUIRE(encoder.ok());
  CHECK(encoder->vocabulary() == 256 + 150 + 1);
  CHECK(encoder->end_of_text() == 406);
  for (const auto& golden : kGolden) {
    INFO(golden.text);
    CHECK(Encode(*encoder, golden.text) == golden.tokens);
  }
}

// A small file of ranks: the bytes in their order, then "ab", "abc", "bc".
std::string Ranks() {
  std::string lines;
  int number = 0;
  const auto add = [&](const std::string& token) {
    lines += std::string(absl::Base64Escape(token)) + " " + std::to_string(number++) + "\n";
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  for (const char* token : {"bc", "ab", "abc"}) add(token);
  return lines;
}

TEST_CASE("a file of ranks: of the neighbours that are a token, the least number is joined first") {
  TempDirectory directory;
  const absl::StatusOr<BpeEncoder> encoder = BpeEncoder::FromFile(directory.Write("a.tiktoken", Ranks()));
  INFO(encoder.status().ToString());
  REQUIRE(encoder.ok());
  CHECK(encoder->vocabulary() == 260);
  CHECK(Encode(*encoder, "abd") == std::vector<std::uint16_t>{257, 'd'});
  CHECK(Encode(*encoder, "abc") == std::vector<std::uint16_t>{258});
  CHECK(Encode(*encoder, "dabcbc") == std::vector<std::uint16_t>{'d', 258, 256});
}

TEST_CASE("any bytes are encoded, and a word of a million letters costs no quadratic time") {
  const BpeEncoder encoder = BpeEncoder::FromFile(kMerges).value();
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  CHECK(Encode(encoder, all).size() >= 200);
  CHECK(Encode(encoder, std::string(1'000'000, 'a')).size() < 200'000);
  CHECK(Encode(encoder, std::string(1'000'000, 'z')).size() == 1'000'000);
}

TEST_CASE("files of merges and ranks that are none are refused, with the line") {
  TempDirectory directory;
  const auto error = [&](const std::string& name, const std::string& contents) {
    return std::string(BpeEncoder::FromFile(directory.Write(name, contents)).status().message());
  };
  CHECK_THAT(error("m", "#version: 0.2\na b\nnothing\n"), Contains("line 3: 'nothing' is no merge"));
  CHECK_THAT(error("m", "a b\na bc\n"), Contains("line 2: no line before made 'bc'"));
  CHECK_THAT(error("m", "a b\na b\n"), Contains("line 2: the token 'ab' is there before"));
  CHECK_THAT(error("m", "a \xe4\xb8\x96\n"), Contains("line 1") && Contains("is no merge"));
  CHECK_THAT(error("m", "a \xc5\n"), Contains("line 1") && Contains("is no merge"));
  CHECK_THAT(error("a.tiktoken", Ranks() + "YWJj 259\n"), Contains("line 260") && Contains("twice"));
  CHECK_THAT(error("a.tiktoken", Ranks() + "eHg= 258\n"), Contains("line 260") && Contains("twice"));
  CHECK_THAT(error("a.tiktoken", Ranks() + "eHg= 300\n"), Contains("260 tokens, but numbers up to 300"));
  CHECK_THAT(error("a.tiktoken", Ranks() + "eHg= 70000\n"), Contains("number 70000"));
  CHECK_THAT(error("a.tiktoken", Ranks() + "?!? 259\n"), Contains("line 260") && Contains("no token in base64"));
  CHECK_THAT(error("a.tiktoken", "YQ== 0\n"), Contains("no token for the byte 0"));
  CHECK_THAT(std::string(BpeEncoder::FromFile("/no/such").status().message()), Contains("/no/such"));
}

TEST_CASE("mutated files are read or refused, and what is read encodes anything") {
  TempDirectory directory;
  std::ifstream file(kMerges);
  std::stringstream merges;
  merges << file.rdbuf();
  std::mt19937_64 random(TestSeed());
  for (int i = 0; i < 200; ++i) {
    const bool ranks = i % 2 == 0;
    const std::string path =
        directory.Write(ranks ? "a.tiktoken" : "m", Mutate(ranks ? Ranks() : merges.str(), random));
    const absl::StatusOr<BpeEncoder> encoder = BpeEncoder::FromFile(path);
    if (encoder.ok()) CHECK(!Encode(*encoder, "the worker \xff abc").empty());
  }
}

}  // namespace
}  // namespace leeway
