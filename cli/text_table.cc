#include "cli/text_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"

namespace leeway {

std::string Printable(std::string text) {
  for (char& c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return text;
}

std::vector<std::string> WrapWords(const std::vector<std::string>& words, const std::string& separator,
                                   std::size_t columns) {
  std::vector<std::string> lines;
  for (const std::string& word : words) {
    if (lines.empty()) {
      lines.push_back(word);
    } else if (lines.back().size() + separator.size() + word.size() <= columns) {
      lines.back() += separator + word;
    } else {
      lines.push_back("  " + word);
    }
  }
  return lines;
}

TextTable::TextTable(const std::vector<std::string>& headers) {
  std::vector<std::string> row;
  for (const std::string& header : headers) {
    right_.push_back(header[0] == '>');
    row.push_back(header.substr(right_.back() ? 1 : 0));
  }
  rows_.push_back(std::move(row));
}

void TextTable::Add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = Printable(std::move(cell));
  row.resize(right_.size());
  rows_.push_back(std::move(row));
}

std::string TextTable::Render() const {
  std::vector<std::size_t> widths(right_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - row[i].size(), ' ');
      if (i > 0) line += "  ";
      line += right_[i] ? blanks + row[i] : row[i] + blanks;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace leeway
