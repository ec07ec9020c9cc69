// TempDirectory: a folder of its own for each test, removed with it; short enough a path for a socket in it.
//
// Thread safety: one thread.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace leeway {

class TempDirectory {
 public:
  TempDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "leeway_test_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  // Writes the file `name` in it, and returns its path.
  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = *this / name;
    // As whoever replaces certificates should: the whole file at once.
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
    return path;
  }

 private:
  std::string path_;
};

}  // namespace leeway
