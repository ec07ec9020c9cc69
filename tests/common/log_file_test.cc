#include "common/log_file.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/catch.h"

namespace leeway {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    const char* directory = std::getenv("TEST_TMPDIR");
    std::string path = absl::StrCat(directory == nullptr ? "/tmp" : directory, "/log_file_XXXXXX");
    REQUIRE(mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string log() const { return path_ + "/a.log"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string Text(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void Append(LogFile& file, const std::string& line) { file.Append(line.data(), line.size()); }

TEST_CASE("A log that grows makes room for itself, oldest lines last") {
  Folder folder;
  LogFile file(folder.log(), 10, 2);
  REQUIRE(file.Open().ok());
  for (const char* line : {"aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "eeee\n", "ffff\n", "gggg\n"}) Append(file, line);
  CHECK(Text(folder.log()) == "gggg\n");
  CHECK(Text(folder.log() + ".1") == "eeee\nffff\n");
  CHECK(Text(folder.log() + ".2") == "cccc\ndddd\n");
  CHECK_FALSE(fs::exists(folder.log() + ".3"));
  // A line that is longer than a file has one of its own, whole.
  Append(file, "a line of its own\n");
  CHECK(Text(folder.log()) == "a line of its own\n");
  CHECK(Text(folder.log() + ".1") == "gggg\n");
}

TEST_CASE("What an earlier process wrote counts, and stays") {
  Folder folder;
  std::ofstream(folder.log()) << "earlier\n";
  LogFile file(folder.log(), 12, 1);
  REQUIRE(file.Open().ok());
  Append(file, "abc\n");
  CHECK(Text(folder.log()) == "earlier\nabc\n");
  Append(file, "d\n");
  CHECK(Text(folder.log()) == "d\n");
  CHECK(Text(folder.log() + ".1") == "earlier\nabc\n");
}

TEST_CASE("A file that was moved away, removed or emptied by others: the next line is in the file of that name") {
  Folder folder;
  LogFile file(folder.log(), 0, 1);
  REQUIRE(file.Open().ok());
  Append(file, "one\n");
  fs::rename(folder.log(), folder.log() + ".old");
  Append(file, "two\n");
  CHECK(Text(folder.log()) == "two\n");
  CHECK(Text(folder.log() + ".old") == "one\n");
  fs::remove(folder.log());
  Append(file, "three\n");
  CHECK(Text(folder.log()) == "three\n");
  fs::resize_file(folder.log(), 0);  // copytruncate
  Append(file, "four\n");
  CHECK(Text(folder.log()) == "four\n");
  // Where the folder is gone the log goes on into what it has, and comes back with the folder.
  fs::rename(folder.path(), folder.path() + ".away");
  Append(file, "five\n");
  fs::rename(folder.path() + ".away", folder.path());
  Append(file, "six\n");
  CHECK(Text(folder.log()) == "four\nfive\nsix\n");
}

TEST_CASE("A file that cannot be opened is an error with the system's reason") {
  LogFile file("/proc/no/such/file", 0, 1);
  const absl::Status status = file.Open();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(status.message() == "/proc/no/such/file: No such file or directory");
  Append(file, "lost\n");
}

TEST_CASE("Threads write whole lines, and none is lost between two files") {
  Folder folder;
  constexpr int kThreads = 4;
  constexpr int kLines = 300;
  LogFile file(folder.log(), 2000, 100);
  REQUIRE(file.Open().ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&file, t] {
      for (int i = 0; i < kLines; ++i) Append(file, absl::StrCat("thread ", t, " line ", i, "\n"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> lines;
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    ++files;
    CHECK(entry.file_size() <= 2000);
    for (const auto line : absl::StrSplit(Text(entry.path()), '\n', absl::SkipEmpty())) lines.insert(std::string(line));
  }
  CHECK(files > 5);
  std::set<std::string> expected;
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kLines; ++i) expected.insert(absl::StrCat("thread ", t, " line ", i));
  }
  CHECK(lines == expected);
}

}  // namespace
}  // namespace leeway
