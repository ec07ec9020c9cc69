#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"

namespace leeway {
namespace {

constexpr char kHideCursor[] = "\x1b[?25l";
constexpr char kShowCursor[] = "\x1b[?25h";
constexpr char kEraseLineEnd[] = "\x1b[K";
constexpr char kEraseScreenEnd[] = "\x1b[J";

void WriteAll(int fd, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // the terminal is gone; the run is not
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

bool IsLiveTerminal(int fd) {
  const char* type = std::getenv("TERM");
  return isatty(fd) == 1 && type != nullptr && absl::string_view(type) != "dumb";
}

ScreenSize GetScreenSize(int fd) {
  winsize size = {};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

std::string Redraw(const std::vector<std::string>& shown, const std::vector<std::string>& above,
                   const std::vector<std::string>& lines, int columns) {
  // A line that was drawn on a wider screen now takes several rows.
  const std::size_t width = static_cast<std::size_t>(std::max(columns, 1));
  std::size_t rows = 0;
  for (const std::string& line : shown) rows += std::max<std::size_t>(1, (line.size() + width - 1) / width);
  std::string out;
  if (rows > 0) absl::StrAppend(&out, "\r\x1b[", rows, "A");
  for (const std::string& text : above) {  // its lines are written over those of the block
    absl::StrAppend(&out, absl::StrReplaceAll(text, {{"\n", absl::StrCat(kEraseLineEnd, "\n")}}), kEraseLineEnd, "\n");
  }
  for (const std::string& line : lines) absl::StrAppend(&out, line, kEraseLineEnd, "\n");
  return out + kEraseScreenEnd;
}

LiveBlock::LiveBlock(int fd) : fd_(fd) { WriteAll(fd_, kHideCursor); }

LiveBlock::~LiveBlock() { WriteAll(fd_, kShowCursor); }

void LiveBlock::Show(const std::vector<std::string>& lines) {
  WriteAll(fd_, Redraw(shown_, {}, lines, GetScreenSize(fd_).columns));
  shown_ = lines;
}

void LiveBlock::Print(const std::string& line) {
  WriteAll(fd_, Redraw(shown_, {line}, shown_, GetScreenSize(fd_).columns));
}

}  // namespace leeway
