// LiveBlock: a block of lines at the end of a terminal's output that is redrawn in place, with lasting lines
// above it.
//
// Thread safety: one thread. Ownership: the descriptor stays the caller's.
// Invariant: each change is one write, and the block is written over rather than erased first, so nothing
// flickers; the cursor is hidden only while the object lives.
#pragma once

#include <string>
#include <vector>

#include "cli/display.h"

namespace leeway {

// True when `fd` is a terminal on which the cursor can be moved.
bool IsLiveTerminal(int fd);

// The terminal's size now; 80 x 24 when it does not say.
ScreenSize GetScreenSize(int fd);

class LiveBlock {
 public:
  explicit LiveBlock(int fd);
  ~LiveBlock();  // the block stays as last shown, the cursor comes back below it
  LiveBlock(const LiveBlock&) = delete;
  LiveBlock& operator=(const LiveBlock&) = delete;

  // Replaces the block. The lines must fit the screen: RenderBlock's do.
  void Show(const std::vector<std::string>& lines);

  // A lasting line above the block.
  void Print(const std::string& line);

  // Removes the block.
  void Clear() { Show({}); }

 private:
  const int fd_;
  std::vector<std::string> shown_;
};

// The bytes that replace `shown`, drawn on a screen that is now `columns` wide, by `above` (lasting) and then
// `lines`: the pure part of the above.
std::string Redraw(const std::vector<std::string>& shown, const std::vector<std::string>& above,
                   const std::vector<std::string>& lines, int columns);

}  // namespace leeway
