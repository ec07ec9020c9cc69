#include "common/token_table.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace leeway {
namespace {

absl::Status Wrong(std::size_t line, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", what));
}

bool IsHex(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<TokenTable> TokenTable::Parse(absl::string_view text) {
  TokenTable table;
  std::size_t number = 0;
  for (const absl::string_view whole : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view line = whole.substr(0, whole.find('#'));
    const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty()) continue;
    if (words.size() > 3) return Wrong(number, "more than ROLE SHA256-HEX [NAME]");
    const std::optional<Role> role = ParseRole(words[0]);
    // No word is told that may be the token itself.
    if (!role) return Wrong(number, "the first word must be observer, worker or admin");
    Entry entry;
    if (words.size() < 2 || words[1].size() != 2 * entry.hash.size() || !IsHex(words[1])) {
      return Wrong(number, "the second word must be the token's SHA-256 in 64 hex digits");
    }
    const std::string bytes = absl::HexStringToBytes(words[1]);
    for (std::size_t i = 0; i < entry.hash.size(); ++i) entry.hash[i] = static_cast<unsigned char>(bytes[i]);
    for (const Entry& other : table.entries_) {
      if (other.hash == entry.hash) return Wrong(number, absl::StrCat("the token of ", other.holder.name, " again"));
    }
    entry.holder = {*role, words.size() == 3 ? std::string(words[2]) : absl::StrCat("line ", number)};
    table.entries_.push_back(std::move(entry));
  }
  if (table.entries_.empty()) return absl::InvalidArgumentError("no token in it");
  return table;
}

const TokenTable::Holder* TokenTable::Find(absl::string_view token) const {
  Hash hash;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  const Holder* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.hash.data(), hash.data(), hash.size()) == 0) found = &entry.holder;
  }
  return found;
}

}  // namespace leeway
