#include "tests/worker/data/support.h"

#include <stdlib.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/catch.h"

namespace leeway {

TempDirectory::TempDirectory() {
  // In memory where that is possible: the mutation tests write thousands of files.
  std::string path = "/dev/shm/leeway-data-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    path = (std::filesystem::temp_directory_path() / "leeway-data-XXXXXX").string();
    REQUIRE(mkdtemp(path.data()) != nullptr);
  }
  path_ = path;
}

TempDirectory::~TempDirectory() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TempDirectory::Write(const std::string& name, const std::string& contents) const {
  std::ofstream file(Path(name), std::ios::binary | std::ios::trunc);
  file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  file.close();
  REQUIRE(file.good());
  return Path(name);
}

std::string Gzip(const std::string& contents) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, contents.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(contents.data()));
  stream.avail_in = static_cast<uInt>(contents.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Idx(const std::vector<std::uint32_t>& dimensions, const std::string& data, std::uint8_t type) {
  std::string bytes{'\0', '\0', static_cast<char>(type), static_cast<char>(dimensions.size())};
  for (std::uint32_t dimension : dimensions) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(dimension >> shift & 255);
  }
  return bytes + data;
}

std::string Mutate(std::string bytes, std::mt19937_64& random) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1)); };
  const std::size_t changes = 1 + below(3);
  for (std::size_t i = 0; i < changes; ++i) {
    if (bytes.empty()) bytes = "0";
    const std::size_t at = below(bytes.size());
    const std::size_t length = 1 + below(8);
    switch (below(6)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(below(256));
        break;
      case 2:
        bytes.erase(at, length);
        break;
      case 3:
        bytes.insert(at, bytes.substr(below(bytes.size()), length));
        break;
      case 4: {
        constexpr const char* kWords[] = {"nan", "-1", "1e999", "\xff\xff\xff\xff", ",", ":",
                                          " ",   "\n", "#",     "4294967296"};
        bytes.insert(at, kWords[below(std::size(kWords))]);
        break;
      }
      default:
        bytes.resize(at);
    }
  }
  return bytes;
}

}  // namespace leeway
