#include "worker/data/tokens.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/input_file.h"

namespace leeway {
namespace {

constexpr std::uint64_t kMaxTokens = std::uint64_t{1} << 32;  // 8 GiB of memory
constexpr std::size_t kPiece = 1 << 20;                       // bytes read at a time
constexpr std::uint64_t kTestShare = 10;                      // a test window for so many windows

constexpr std::size_t kHeaderNumbers = 256;
constexpr std::uint32_t kMagicGpt2 = 20240520, kMagicLlama3 = 20240801;

using Bytes = std::vector<unsigned char>;
using Tokens = std::vector<std::uint16_t>;

std::uint32_t LittleEndian32(const unsigned char* bytes) {
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
}

absl::Status TooLarge(const std::string& path) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": more than ", kMaxTokens, " tokens"));
}

// Appends to `tokens` what `convert` makes of each piece of the file. Pieces but the last are full.
template <typename Convert>
absl::Status ReadPieces(const std::string& path, InputFile& file, std::size_t bytes_per_token, Tokens* tokens,
                        Convert convert) {
  if (!file.gzip()) {
    const std::uint64_t expected = file.max_contents() / bytes_per_token;
    RETURN_IF_ERROR(CheckFits(path, expected * sizeof(Tokens::value_type)));
    if (expected > kMaxTokens) return TooLarge(path);
    tokens->reserve(expected);
  }
  Bytes piece(kPiece);
  for (;;) {
    ASSIGN_OR_RETURN(const std::size_t size, file.Read(piece.data(), piece.size()));
    if (tokens->size() + size / bytes_per_token > kMaxTokens) return TooLarge(path);
    RETURN_IF_ERROR(convert(piece.data(), size));
    if (size < piece.size()) return absl::OkStatus();
  }
}

absl::StatusOr<Tokens> ReadBytes(const std::string& path, InputFile& file) {
  Tokens tokens;
  RETURN_IF_ERROR(ReadPieces(path, file, 1, &tokens, [&](const unsigned char* bytes, std::size_t size) {
    tokens.insert(tokens.end(), bytes, bytes + size);
    return absl::OkStatus();
  }));
  return tokens;
}

// How many tokens the header announces.
absl::StatusOr<std::uint64_t> CheckHeader(const std::string& path, const unsigned char* header, std::size_t size) {
  if (size < kHeaderNumbers * 4) return absl::DataLossError(absl::StrCat(path, ": it ends within its header"));
  const std::uint32_t version = LittleEndian32(header + 4);
  if (version != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": a file of tokens of version ", version, "; version 1 is understood"));
  }
  return LittleEndian32(header + 8);
}

absl::StatusOr<Tokens> ReadTokenFile(const std::string& path, InputFile& file) {
  Tokens tokens;
  std::uint64_t announced = 0;
  bool first = true, has_header = false;
  const auto convert = [&](const unsigned char* bytes, std::size_t size) -> absl::Status {
    if (first && size >= 4) {
      const std::uint32_t magic = LittleEndian32(bytes);
      if (magic == kMagicLlama3) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": tokens of Llama 3, which need 32 bits; tokens of 16 bits are understood"));
      }
      has_header = magic == kMagicGpt2;
      if (has_header) {
        ASSIGN_OR_RETURN(announced, CheckHeader(path, bytes, size));
        bytes += kHeaderNumbers * 4, size -= kHeaderNumbers * 4;
      }
    }
    first = false;
    if (size % 2 != 0) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": an odd number of bytes; tokens have two each"));
    }
    for (std::size_t i = 0; i < size; i += 2) {
      tokens.push_back(static_cast<std::uint16_t>(bytes[i] | bytes[i + 1] << 8));
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ReadPieces(path, file, 2, &tokens, convert));
  if (has_header && tokens.size() != announced) {
    return absl::DataLossError(
        absl::StrCat(path, ": its header announces ", announced, " tokens, it has ", tokens.size()));
  }
  return tokens;
}

struct Text {
  Tokens tokens;
  std::uint32_t vocabulary;
};

absl::StatusOr<Text> ReadText(const std::string& path, std::uint32_t vocabulary) {
  const bool is_tokens = absl::EndsWith(path, ".bin");
  // Tokens are not: the first may be 35615, which are the bytes that gzip's files begin with.
  ASSIGN_OR_RETURN(const std::unique_ptr<InputFile> file, InputFile::Open(path, /*may_be_gzip=*/!is_tokens));
  ASSIGN_OR_RETURN(Tokens tokens, is_tokens ? ReadTokenFile(path, *file) : ReadBytes(path, *file));
  if (vocabulary == 0) vocabulary = is_tokens ? kGpt2Vocabulary : 256;
  return Text{std::move(tokens), vocabulary};
}

}  // namespace

absl::Status WriteTokenFile(FileSystem& files, const std::string& path, absl::Span<const std::uint16_t> tokens) {
  if (tokens.size() >= kMaxTokens) return TooLarge(path);
  std::string header;
  for (const std::uint32_t number : {kMagicGpt2, std::uint32_t{1}, static_cast<std::uint32_t>(tokens.size())}) {
    for (int shift = 0; shift < 32; shift += 8) header.push_back(static_cast<char>(number >> shift & 0xff));
  }
  header.resize(kHeaderNumbers * 4);
  static_assert(std::endian::native == std::endian::little, "tokens are written as they lie in memory");
  const absl::string_view data(reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(tokens[0]));
  return WriteAtomically(files, path, {header, data});
}

absl::StatusOr<Dataset> LoadTokens(const std::string& path, const std::string& test_path, Split split,
                                   const TokenOptions& options) {
  if (options.context == 0) {
    return absl::InvalidArgumentError(absl::StrCat("data 'tokens:", path, "': only --model=gpt takes tokens"));
  }
  const bool test = split == Split::kTest;
  if (!test_path.empty()) {
    const std::string& file = test ? test_path : path;
    ASSIGN_OR_RETURN(Text text, ReadText(file, options.vocabulary));
    return Dataset::FromTokens(file, text.vocabulary, options.context, std::move(text.tokens));
  }
  ASSIGN_OR_RETURN(Text text, ReadText(path, options.vocabulary));
  const std::uint64_t windows = text.tokens.empty() ? 0 : (text.tokens.size() - 1) / options.context;
  if (windows < 2) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", text.tokens.size(), " tokens; a training and a test ",
                                                   "window of ", options.context, " need ", 2 * options.context + 1));
  }
  const std::uint64_t held_out = std::max<std::uint64_t>(windows / kTestShare, 1);
  const std::uint64_t border_at = (windows - held_out) * options.context;
  const auto border = text.tokens.begin() + static_cast<std::ptrdiff_t>(border_at);
  if (test) {
    text.tokens.erase(text.tokens.begin(), border);
  } else {
    text.tokens.erase(border + 1, text.tokens.end());  // the last label is the test split's first token
  }
  return Dataset::FromTokens(path, text.vocabulary, options.context, std::move(text.tokens), test ? border_at : 0);
}

}  // namespace leeway
