// TextTable: rows of text under a header, in columns as wide as what is in them.
//
// Thread safety: none.
#pragma once

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

// Names come over the wire: nothing in them may move the cursor or take more columns than it has bytes.
std::string Printable(std::string text);

}  // namespace leeway
