// TokenTable: the tokens that a server takes, by their SHA-256, with their roles. A file of them gives nobody a token.
//
// One token a line: `ROLE SHA256-HEX [NAME]`; # begins a comment. NAME is for the log.
//
// Thread safety: immutable.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/roles.h"

namespace leeway {

class TokenTable {
 public:
  struct Holder {
    Role role = Role::kObserver;
    std::string name;  // "line 3" where the file names nobody
  };

  // INVALID_ARGUMENT names the line. A file without a token is refused: it would lock everybody out.
  static absl::StatusOr<TokenTable> Parse(absl::string_view text);

  // Whose token it is; null: nobody's. Takes equally long for every token of a length.
  const Holder* Find(absl::string_view token) const;

  std::size_t size() const { return entries_.size(); }

 private:
  using Hash = std::array<unsigned char, 32>;
  struct Entry {
    Hash hash;
    Holder holder;
  };

  std::vector<Entry> entries_;
};

}  // namespace leeway
