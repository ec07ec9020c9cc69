// Texts and files of tokens: what is read, how it is split, and what is refused.
#include "worker/data/tokens.h"

#include <unistd.h>

#include <string>
#include <vector>

#include "common/machine.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/worker/data/support.h"

namespace leeway {
namespace {

using Catch::Contains;

std::string Bytes16(const std::vector<int>& tokens) {
  std::string bytes;
  for (const int token : tokens) bytes += {static_cast<char>(token & 0xff), static_cast<char>(token >> 8)};
  return bytes;
}

std::string Header(std::uint32_t magic, std::uint32_t version, std::uint32_t tokens) {
  std::string header;
  for (const std::uint32_t number : {magic, version, tokens}) {
    for (int shift = 0; shift < 32; shift += 8) header += static_cast<char>(number >> shift & 0xff);
  }
  header.resize(1024);
  return header;
}

std::vector<std::int32_t> AllTokens(const Dataset& data) {
  std::vector<std::int32_t> all;
  std::vector<std::int32_t> tokens(data.features_per_record()), labels(data.labels_per_record());
  for (std::uint64_t record = 0; record < data.num_records(); ++record) {
    data.Gather({record}, tokens.data(), labels.data());
    all.insert(all.end(), tokens.begin(), tokens.end());
    if (record + 1 == data.num_records()) all.push_back(labels.back());
  }
  return all;
}

class Files {
 public:
  // The tokens of a file with this name and contents, in windows of one, without the held-out ones.
  std::vector<std::int32_t> Read(const std::string& name, const std::string& contents, std::uint32_t vocabulary = 0) {
    const absl::StatusOr<Dataset> data = Load(name, contents, vocabulary);
    INFO(data.status().ToString());
    REQUIRE(data.ok());
    return AllTokens(*data);
  }
  std::string Error(const std::string& name, const std::string& contents, std::uint32_t vocabulary = 0) {
    const absl::StatusOr<Dataset> data = Load(name, contents, vocabulary);
    return data.ok() ? "" : std::string(data.status().message());
  }
  absl::StatusOr<Dataset> Load(const std::string& name, const std::string& contents, std::uint32_t vocabulary = 0) {
    const std::string path = directory_.Write(name, contents);
    return LoadTokens(path, path, Split::kTrain, {1, vocabulary});
  }

 private:
  TempDirectory directory_;
};

TEST_CASE("any file is read byte by byte, also compressed") {
  Files files;
  const std::string text = std::string("a\0\xff\n", 4);
  CHECK(files.Read("text", text) == std::vector<std::int32_t>{97, 0, 255, 10});
  CHECK(files.Read("text.gz", Gzip(text)) == std::vector<std::int32_t>{97, 0, 255, 10});
  CHECK(files.Load("text", text)->num_classes() == 256);
  CHECK(files.Load("text", "abc", 128)->num_classes() == 128);
}

TEST_CASE("files of 16-bit tokens, plain and with llm.c's header, longer than one piece") {
  Files files;
  CHECK(files.Read("a.bin", Bytes16({1, 256, 50256})) == std::vector<std::int32_t>{1, 256, 50256});
  CHECK(files.Load("a.bin", Bytes16({1, 2}))->num_classes() == 50257);
  CHECK(files.Read("b.bin", Header(20240520, 1, 3) + Bytes16({1, 256, 7})) == std::vector<std::int32_t>{1, 256, 7});
  CHECK(files.Read("gzip.bin", Bytes16({0x8b1f, 8, 7}), 65535) == std::vector<std::int32_t>{0x8b1f, 8, 7});
  std::vector<int> many;
  for (int i = 0; i < 700'001; ++i) many.push_back(i % 50257);
  const std::vector<std::int32_t> expected(many.begin(), many.end());
  CHECK(files.Read("c.bin", Bytes16(many)) == expected);
  CHECK(files.Read("d.bin", Header(20240520, 1, 700'001) + Bytes16(many)) == expected);
}

TEST_CASE("one file: the last tenth of its windows, at least one, is the test split") {
  TempDirectory directory;
  std::string text;
  for (int i = 0; i < 250; ++i) text += static_cast<char>(i);
  const auto load = [&](Split split, std::uint32_t context) {
    return LoadTokens(directory.Write("text", text), "", split, {context, 0});
  };
  const Dataset train = load(Split::kTrain, 4).value(), test = load(Split::kTest, 4).value();
  CHECK(train.num_records() == 56);  // of 62
  CHECK(test.num_records() == 6);
  CHECK(AllTokens(train).back() == 56 * 4);
  CHECK(AllTokens(test).front() == 56 * 4);
  CHECK(AllTokens(test).back() == 62 * 4);
  CHECK(load(Split::kTest, 124).value().num_records() == 1);
  CHECK_THAT(std::string(load(Split::kTrain, 125).status().message()),
             Contains("250 tokens") && Contains("125 need 251"));
}

TEST_CASE("a token outside the vocabulary is named by its place in the file, in the test split, too") {
  TempDirectory directory;
  std::string text(250, 'a');
  text.back() = '\xff';
  const std::string path = directory.Write("text", text);
  const absl::Status status = LoadTokens(path, "", Split::kTest, {4, 128}).status();
  CHECK_THAT(std::string(status.message()), Contains("token 249 is 255; a vocabulary of 128"));
}

TEST_CASE("what cannot be understood is refused by name and reason") {
  Files files;
  CHECK_THAT(files.Error("a.bin", Bytes16({1, 2}) + "x"), Contains("a.bin: an odd number of bytes"));
  CHECK_THAT(files.Error("a.bin", ""), Contains("0 tokens"));
  CHECK_THAT(files.Error("text", ""), Contains("0 tokens"));
  CHECK_THAT(files.Error("a.bin", Bytes16({1, 50257})), Contains("token 1 is 50257"));
  CHECK_THAT(files.Error("a.bin", Bytes16({1, 65}), 65), Contains("token 1 is 65; a vocabulary of 65"));
  CHECK_THAT(files.Error("text", "ab\x80", 128), Contains("token 2 is 128"));
  CHECK_THAT(files.Error("a.bin", Header(20240520, 2, 2) + Bytes16({1, 2})), Contains("version 2"));
  CHECK_THAT(files.Error("a.bin", Header(20240801, 1, 2) + Bytes16({1, 2})), Contains("Llama 3"));
  for (const std::uint32_t announced : {0u, 1u, 3u, 0xffffffffu}) {
    CHECK_THAT(files.Error("a.bin", Header(20240520, 1, announced) + Bytes16({1, 2})),
               Contains("announces " + std::to_string(announced) + " tokens, it has 2"));
  }
  CHECK_THAT(files.Error("a.bin", Header(20240520, 1, 2).substr(0, 1000)), Contains("ends within its header"));
  CHECK_THAT(files.Error("text.gz", Gzip("some text").substr(0, 20)), Contains("cut off"));
}

TEST_CASE("a text is refused whose tokens, of two bytes each, no memory could hold") {
  TempDirectory directory;
  const std::string path = directory.Write("sparse", "");
  REQUIRE(truncate(path.c_str(), static_cast<off_t>(TotalMemoryBytes() / 2 + 1)) == 0);
  const absl::Status status = LoadTokens(path, path, Split::kTrain, {1, 0}).status();
  CHECK(absl::IsResourceExhausted(status));
  CHECK_THAT(std::string(status.message()), Catch::StartsWith(path + ": takes "));
}

TEST_CASE("what is written is read again") {
  TempDirectory directory;
  const std::string path = directory.Path("a.bin");
  REQUIRE(WriteTokenFile(RealFileSystem(), path, {1, 256, 50256}).ok());
  CHECK(AllTokens(LoadTokens(path, path, Split::kTrain, {1, 0}).value()) == std::vector<std::int32_t>{1, 256, 50256});
  CHECK(RealFileSystem().Read(path).value() == Header(20240520, 1, 3) + Bytes16({1, 256, 50256}));
}

TEST_CASE("mutated files of tokens are read or refused, never worse") {
  Files files;
  std::mt19937_64 random(TestSeed());
  const std::string good = Header(20240520, 1, 20) + Bytes16(std::vector<int>(20, 50000));
  for (int i = 0; i < 300; ++i) {
    const absl::StatusOr<Dataset> data = files.Load("a.bin", Mutate(good, random));
    if (data.ok()) CHECK(data->num_records() >= 1);
  }
}

}  // namespace
}  // namespace leeway
