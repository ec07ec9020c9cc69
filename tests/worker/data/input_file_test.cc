#include "worker/data/input_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "common/machine.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/worker/data/support.h"

namespace leeway {
namespace {

// Reads everything in pieces of `piece` bytes.
absl::StatusOr<std::string> ReadAll(const std::string& path, std::size_t piece = 1000) {
  auto file = InputFile::Open(path);
  if (!file.ok()) return file.status();
  std::string all, buffer(piece, '\0');
  while (true) {
    const auto count = (*file)->Read(buffer.data(), piece);
    if (!count.ok()) return count.status();
    all.append(buffer, 0, *count);
    if (*count < piece) return all;
  }
}

std::string Text(std::size_t size) {
  std::mt19937_64 random(TestSeed());
  std::string text(size, '\0');
  for (char& c : text) c = "abcdefgh"[random() % 8];
  return text;
}

TEST_CASE("InputFile: plain and gzip files of all sizes around the piece read at a time") {
  const TempDirectory directory;
  for (std::size_t size : {0, 1, 2, 3, 65535, 65536, 65537, 300000}) {
    const std::string text = Text(size);
    for (std::size_t piece : {7, 65536, 1000000}) {
      const auto plain = ReadAll(directory.Write("plain", text), piece);
      REQUIRE(plain.ok());
      CHECK(*plain == text);
      const auto gzip = ReadAll(directory.Write("packed", Gzip(text)), piece);
      REQUIRE(gzip.ok());
      CHECK(*gzip == text);
    }
  }
}

TEST_CASE("InputFile: gzip members one after the other are one contents") {
  const TempDirectory directory;
  const auto all = ReadAll(directory.Write("two.gz", Gzip("first, ") + Gzip("") + Gzip("second")));
  REQUIRE(all.ok());
  CHECK(*all == "first, second");
}

TEST_CASE("InputFile: gzip data cut off anywhere is noticed") {
  const TempDirectory directory;
  const std::string packed = Gzip(Text(400));
  for (std::size_t size = 2; size < packed.size(); ++size) {
    const auto all = ReadAll(directory.Write("cut.gz", packed.substr(0, size)));
    REQUIRE(all.status().code() == absl::StatusCode::kDataLoss);
    CHECK(std::string(all.status().message()) == directory.Path("cut.gz") +
                                                     ": the gzip data is cut off (the file ends after " +
                                                     std::to_string(size) + " bytes)");
  }
}

TEST_CASE("InputFile: bytes behind gzip data, a wrong checksum, a wrong length are noticed") {
  const TempDirectory directory;
  const std::string packed = Gzip("some text");
  for (const std::string& tail : {std::string("x"), std::string("\x1f"), std::string(100, '\0')}) {
    const auto all = ReadAll(directory.Write("tail.gz", packed + tail));
    CHECK(all.status().code() == absl::StatusCode::kDataLoss);
  }
  for (std::size_t from_end = 1; from_end <= 8; ++from_end) {
    std::string changed = packed;
    changed[changed.size() - from_end] = static_cast<char>(changed[changed.size() - from_end] ^ 1);
    const auto all = ReadAll(directory.Write("changed.gz", changed));
    REQUIRE(all.status().code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(all.status().message()), Catch::Contains("the gzip data is corrupt: incorrect"));
  }
}

TEST_CASE("InputFile: what is no readable file says so at once") {
  const TempDirectory directory;
  CHECK(ReadAll(directory.Path("none")).status().code() == absl::StatusCode::kNotFound);
  CHECK(ReadAll(directory.Write("file", "x") + "/below").status().code() == absl::StatusCode::kNotFound);
  CHECK(std::string(ReadAll(directory.path()).status().message()) ==
        directory.path() + ": is not a regular file but a directory");
  const std::string pipe = directory.Path("pipe");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(std::string(ReadAll(pipe).status().message()) == pipe + ": is not a regular file");
}

TEST_CASE("InputFile: the most that a file can hold bounds what it really holds") {
  const TempDirectory directory;
  const std::string zeros(10'000'000, '\0');
  const auto packed = InputFile::Open(directory.Write("zeros.gz", Gzip(zeros)));
  REQUIRE(packed.ok());
  CHECK((*packed)->gzip());
  CHECK((*packed)->max_contents() >= zeros.size());
  const auto plain = InputFile::Open(directory.Write("plain", "12345"));
  REQUIRE(plain.ok());
  CHECK((*plain)->max_contents() == 5);
}

TEST_CASE("InputFile: a file that no memory could hold is refused before any is taken") {
  const TempDirectory directory;
  const std::string path = directory.Write("sparse", "");
  const std::uint64_t size = TotalMemoryBytes() + 1;
  REQUIRE(truncate(path.c_str(), static_cast<off_t>(size)) == 0);
  const absl::Status status = ReadTextFile(path).status();
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(status.message()), Catch::StartsWith(path + ": takes ") && Catch::Contains(FormatBytes(size)));
}

TEST_CASE("ReadTextFile: reads text, refuses gzip") {
  const TempDirectory directory;
  const auto text = ReadTextFile(directory.Write("a.csv", "1,2\n"));
  REQUIRE(text.ok());
  CHECK(*text == "1,2\n");
  CHECK(std::string(ReadTextFile(directory.Write("b.csv", Gzip("1,2\n"))).status().message()) ==
        directory.Path("b.csv") + ": is gzip-compressed; unpack it first");
}

}  // namespace
}  // namespace leeway
