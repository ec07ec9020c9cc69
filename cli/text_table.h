// TextTable: rows of text under a header, in columns as wide as what is in them; and lines that fit a screen.
//
// Thread safety: none.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace leeway {

class TextTable {
 public:
  // A header that begins with '>' is of a column that is flush right.
  explicit TextTable(const std::vector<std::string>& headers);

  void Add(std::vector<std::string> row);  // as many as there are headers
  std::string Render() const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;  // the headers first
};

// The words in lines of at most `columns` characters, where no single word is longer; all but the first line begin with
// two blanks.
std::vector<std::string> WrapWords(const std::vector<std::string>& words, const std::string& separator,
                                   std::size_t columns);

// Names come over the wire: nothing in them may move the cursor or take more columns than it has bytes.
std::string Printable(std::string text);

}  // namespace leeway
