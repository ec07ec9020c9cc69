// What the data tests share: files in a directory of their own, IDX and gzip bytes, seeded mutations.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace leeway {

// A fresh directory, removed with all it holds by the destructor.
class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  std::string Write(const std::string& name, const std::string& contents) const;  // returns the path

 private:
  std::string path_;
};

std::string Gzip(const std::string& contents);

// An IDX file: magic (0, 0, type, number of dimensions), dimensions, data.
std::string Idx(const std::vector<std::uint32_t>& dimensions, const std::string& data, std::uint8_t type = 8);

// `bytes` with a few of: bits flipped, bytes overwritten, a piece cut out, doubled or put in, the end cut off.
// It may come out as it was.
std::string Mutate(std::string bytes, std::mt19937_64& random);

}  // namespace leeway
