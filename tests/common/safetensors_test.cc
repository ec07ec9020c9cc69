#include "common/safetensors.h"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/crash_files.h"

namespace leeway {
namespace {

// A file with this header and `data_bytes` of data.
std::string FileOf(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + std::string(data_bytes, '\x01');
}

std::string Refusal(std::string bytes) {
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Parse("f.safetensors", std::move(bytes));
  REQUIRE(!file.ok());
  CHECK(file.status().code() == absl::StatusCode::kInvalidArgument);
  const std::string message(file.status().message());
  CHECK(absl::StartsWith(message, "f.safetensors: "));
  return message;
}

std::string Refusal(const std::string& header, std::size_t data_bytes) { return Refusal(FileOf(header, data_bytes)); }

std::string WrittenBytes(const std::vector<SafetensorsInput>& tensors, const SafetensorsMetadata& metadata = {}) {
  CrashFiles files(1);
  REQUIRE(WriteSafetensors(files, "out/f", tensors, metadata).ok());
  REQUIRE(files.List("out")->size() == 1);
  return files.Bytes("out/f");
}

std::vector<float> Values(const SafetensorsFile& file, const SafetensorsFile::Tensor& tensor) {
  std::vector<float> values(tensor.count);
  file.Copy(tensor, 0, absl::MakeSpan(values));
  return values;
}

TEST_CASE("safetensors: what is written is read") {
  const std::vector<float> weights = {1, -2.5f, std::numeric_limits<float>::denorm_min(), 4, 5, 6};
  const std::vector<float> scalar = {std::numeric_limits<float>::infinity()};
  const std::string odd_name = "z \"quoted\" \xc3\xa9/\n";
  CrashFiles files(1);
  REQUIRE(WriteSafetensors(files, "f", {{"weights", {2, 3}, weights}, {odd_name, {}, scalar}, {"empty", {0, 7}, {}}},
                           {{"format", "pt"}, {"step", "12"}})
              .ok());
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Read(files, "f");
  REQUIRE(file.ok());
  CHECK(file->metadata() == SafetensorsMetadata{{"format", "pt"}, {"step", "12"}});
  REQUIRE(file->tensors().size() == 3);
  CHECK(file->tensors()[0].name == "weights");
  CHECK(file->tensors()[0].offset % 8 == 0);
  CHECK(file->tensors()[0].shape == std::vector<std::int64_t>{2, 3});
  CHECK(Values(*file, file->tensors()[0]) == weights);
  REQUIRE(file->Find(odd_name) != nullptr);
  CHECK(file->Find(odd_name)->shape.empty());
  CHECK(Values(*file, *file->Find(odd_name)) == scalar);
  REQUIRE(file->Find("empty") != nullptr);
  CHECK(file->Find("empty")->count == 0);
  CHECK(file->Find("none") == nullptr);

  std::vector<float> part(2);
  file->Copy(file->tensors()[0], 3, absl::MakeSpan(part));
  CHECK(part == std::vector<float>{4, 5});
}

TEST_CASE("safetensors: no tensors at all is a file too") {
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Parse("f", WrittenBytes({}));
  REQUIRE(file.ok());
  CHECK(file->tensors().empty());
  CHECK(SafetensorsFile::Parse("f", FileOf("{}", 0)).ok());
}

// Byte for byte what the format's documentation says.
TEST_CASE("safetensors: the bytes of a small file") {
  const std::vector<float> values = {1.0f, 2.0f};
  const std::string header = R"({"a":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}})";
  const std::string bytes = WrittenBytes({{"a", {2}, values}});
  CHECK(bytes == std::string("\x38\0\0\0\0\0\0\0", 8) + header + "  " + std::string("\0\0\x80\x3f\0\0\0\x40", 8));
}

// Written by the Python package, version 0.8.0: save({"b": [[1, 2, 3]], "a": 0.5, "e": []}, {"k": "v"}).
TEST_CASE("safetensors: a file of the reference implementation") {
  const std::string header = R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"F32","shape":[1,3],"data_offsets":[4,16]},)"
                             R"("e":{"dtype":"F32","shape":[0],"data_offsets":[16,16]}}   )";
  REQUIRE(header.size() == 192);
  const std::string bytes = FileOf(header, 0) + std::string("\0\0\0\x3f\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40", 16);
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Parse("f", bytes);
  REQUIRE(file.ok());
  CHECK(file->metadata() == SafetensorsMetadata{{"k", "v"}});
  REQUIRE(file->tensors().size() == 3);
  CHECK(Values(*file, *file->Find("b")) == std::vector<float>{1, 2, 3});
  CHECK(file->Find("b")->shape == std::vector<std::int64_t>{1, 3});
  CHECK(Values(*file, *file->Find("a")) == std::vector<float>{0.5f});
  CHECK(file->Find("e")->shape == std::vector<std::int64_t>{0});
}

TEST_CASE("safetensors: a plan says where each tensor goes before there are values") {
  const absl::StatusOr<SafetensorsPlan> plan =
      PlanSafetensors("f",
                      {{.name = "steps", .type = SafetensorsType::kI64, .shape = {3}},
                       {.name = "w", .shape = {5}},
                       {.name = "s", .shape = {}}},
                      {{"k", "v"}});
  REQUIRE(plan.ok());
  REQUIRE(plan->begin.size() % 8 == 0);
  CHECK(plan->tensors[0].offset == plan->begin.size());
  CHECK(plan->tensors[1].offset == plan->begin.size() + 24);
  CHECK(plan->tensors[2].offset == plan->begin.size() + 44);
  CHECK(plan->file_size == plan->begin.size() + 48);

  // A file that is opened: its header is read, and nothing else.
  CrashFiles files(1);
  const auto written = files.CreateSized("f", plan->file_size);
  REQUIRE((*written)->WriteAt(0, plan->begin.data(), plan->begin.size()).ok());
  const auto open = files.Open("f");
  REQUIRE(open.ok());
  constexpr SafetensorsType kBoth[] = {SafetensorsType::kF32, SafetensorsType::kI64};
  const absl::StatusOr<SafetensorsHeader> header = ReadSafetensorsHeader("f", **open, kBoth);
  REQUIRE(header.ok());
  CHECK(header->metadata == SafetensorsMetadata{{"k", "v"}});
  REQUIRE(header->tensors.size() == 3);
  CHECK(header->Find("none") == nullptr);
  REQUIRE(header->Find("steps") == &header->tensors[0]);
  for (std::size_t i = 0; i < 3; ++i) {
    CAPTURE(i);
    CHECK(header->tensors[i].name == plan->tensors[i].name);
    CHECK(header->tensors[i].type == plan->tensors[i].type);
    CHECK(header->tensors[i].shape == plan->tensors[i].shape);
    CHECK(header->tensors[i].offset == plan->tensors[i].offset);
    CHECK(header->tensors[i].count == plan->tensors[i].count);
  }
  // Who wants weights alone does not take integers for them.
  CHECK(absl::StrContains(SafetensorsFile::Read(files, "f").status().message(),
                          "tensor 'steps': dtype is 'I64'; allowed: F32"));
  CHECK(absl::StrContains(ReadSafetensorsHeader("f", **files.Open("f"), {SafetensorsType::kI64}).status().message(),
                          "dtype is 'F32'; allowed: I64"));

  // Cut anywhere, it is refused.
  const std::string whole = files.Bytes("f");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    files.Bytes("cut") = whole.substr(0, size);
    const auto cut = files.Open("cut");
    REQUIRE(absl::StartsWith(ReadSafetensorsHeader("cut", **cut, kBoth).status().message(), "cut: "));
  }
  // Beyond what a file can hold.
  const std::int64_t half = std::int64_t{1} << 60;
  CHECK(absl::StrContains(PlanSafetensors("f", {{.name = "a", .shape = {2 * half}}}, {}).status().message(),
                          "tensor 'a': shape '[2305843009213693952]' is negative or too large"));
  CHECK(absl::StrContains(
      PlanSafetensors(
          "f", {{.name = "a", .shape = {half - 1}}, {.name = "b", .shape = {half}}, {.name = "c", .shape = {1}}}, {})
          .status()
          .message(),
      "tensor 'b': shape"));
}

// The format does not promise that the data is aligned.
TEST_CASE("safetensors: values at an odd offset") {
  std::string bytes = FileOf(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )", 0);
  REQUIRE(bytes.size() % 4 != 0);
  bytes += std::string("\0\0\x80\x3f", 4);
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Parse("f", bytes);
  REQUIRE(file.ok());
  CHECK(Values(*file, file->tensors()[0]) == std::vector<float>{1.0f});
}

TEST_CASE("safetensors: the writer refuses what no reader could take") {
  CrashFiles files(1);
  const std::vector<float> two = {1, 2};
  const auto refusal = [&](const std::vector<SafetensorsInput>& tensors, const SafetensorsMetadata& metadata = {}) {
    const absl::Status status = WriteSafetensors(files, "out/f", tensors, metadata);
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_FALSE(files.Exists("out"));
    return std::string(status.message());
  };
  CHECK(refusal({{"a", {2}, two}, {"a", {2}, two}}) == "out/f: tensor name 'a' is reserved or used twice");
  CHECK(refusal({{"__metadata__", {2}, two}}) == "out/f: tensor name '__metadata__' is reserved or used twice");
  CHECK(refusal({{"a", {3}, two}}) == "out/f: tensor 'a': shape '[3]' does not fit 2 values");
  CHECK(refusal({{"a", {-1, -2}, two}}) == "out/f: tensor 'a': shape '[-1,-2]' is negative or too large");
  CHECK(absl::StrContains(refusal({{"\xff", {2}, two}}), "not UTF-8"));
  CHECK(absl::StrContains(refusal({}, {{"k", "\xc3"}}), "not UTF-8"));

  files.FailAppends(absl::ResourceExhaustedError("disk full"));
  CHECK(WriteSafetensors(files, "f", {}).code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("safetensors: Read hands on the file system's error") {
  CrashFiles files(1);
  CHECK(SafetensorsFile::Read(files, "none").status().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("safetensors: refused headers") {
  CHECK(Refusal("") == "f.safetensors: 0 bytes are no safetensors file; the smallest has 10");
  CHECK(absl::StrContains(Refusal("1234567"), "7 bytes are no safetensors file"));
  CHECK(Refusal(std::string("\x03\0\0\0\0\0\0\0{}", 10)) ==
        "f.safetensors: its header claims 3 bytes; allowed here: up to 2 (file size 10)");
  CHECK(absl::StrContains(Refusal(std::string(16, '\xff')), "claims 18446744073709551615 bytes"));
  CHECK(absl::StrContains(Refusal("", 0), "does not begin with '{'"));
  CHECK(absl::StrContains(Refusal("[]", 0), "does not begin with '{'"));
  CHECK(absl::StrContains(Refusal(" {}", 0), "does not begin with '{'"));
  for (const char* bad : {"{", "{\"a\"", "{\"a\":}", "{}{}", "{\"a\":1e999}", "{\"\xff\":{}}", "{'a':{}}", "{}\x01"}) {
    CAPTURE(bad);
    CHECK(absl::StrContains(Refusal(bad, 0), "not valid JSON"));
  }
  CHECK(absl::StrContains(Refusal("{\"a\":[[[]]]}", 0), "nests deeper than 3"));
  CHECK(absl::StrContains(Refusal("{\"a\":" + std::string(50'000'000, '[') + "}", 0), "nests deeper than 3"));
  // Brackets in strings do not nest; a quote behind a backslash does not end the string.
  CHECK(SafetensorsFile::Parse("f", FileOf(R"({"__metadata__":{"k":"\"[[[[[{{{{{"}})", 0)).ok());
}

TEST_CASE("safetensors: refused entries") {
  const std::string good = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  REQUIRE(SafetensorsFile::Parse("f", FileOf("{\"a\":" + good + "}", 8)).ok());
  CHECK(absl::StrContains(Refusal("{\"a\":" + good + ",\"a\":" + good + "}", 8), "the header has 'a' twice"));
  CHECK(absl::StrContains(Refusal(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
                          "the header has 'dtype' twice"));
  CHECK(absl::StrContains(Refusal(R"({"__metadata__":[]})", 0), "__metadata__ is not an object"));
  CHECK(absl::StrContains(Refusal(R"({"__metadata__":{"k":1}})", 0), "__metadata__ 'k' is '1'; allowed: a string"));
  CHECK(absl::StrContains(Refusal(R"({"a":7})", 0), "tensor 'a': its entry is '7'; allowed: an object"));
  CHECK(absl::StrContains(Refusal(R"({"a":{}})", 0), "tensor 'a': no dtype"));

  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return absl::StrCat("{\"a\":{\"dtype\":", dtype, ",\"shape\":", shape, ",\"data_offsets\":", offsets, "}}");
  };
  CHECK(absl::StrContains(Refusal(entry("\"F64\"", "[1]", "[0,8]"), 8), "tensor 'a': dtype is 'F64'; allowed: F32"));
  CHECK(absl::StrContains(Refusal(entry("32", "[1]", "[0,8]"), 8), "dtype is '32'"));
  for (const char* shape : {"2", "[-2]", "[2.0]", "[\"2\"]", "[true]", "[9223372036854775808]", "{}", "null"}) {
    CAPTURE(shape);
    CHECK(absl::StrContains(Refusal(entry("\"F32\"", shape, "[0,8]"), 8), "tensor 'a': shape in "));
  }
  for (const char* offsets : {"8", "[8]", "[0,4,8]", "[-1,7]", "[0,8.0]", "[0,1e1]", "{\"0\":8}"}) {
    CAPTURE(offsets);
    CHECK(absl::StrContains(Refusal(entry("\"F32\"", "[2]", offsets), 8), "tensor 'a': data_offsets in "));
  }
  CHECK(absl::StrContains(Refusal(entry("\"F32\"", "[2]", "[0,12]"), 8),
                          "tensor 'a': data_offsets are [0, 12), the data has 8 bytes"));
  CHECK(absl::StrContains(Refusal(entry("\"F32\"", "[2]", "[8,0]"), 8), "data_offsets are [8, 0)"));
  // A product that wraps around to the right number, one beyond all memory, and one that is just wrong.
  for (const char* shape : {"[4611686018427387905,2]", "[9223372036854775807,9223372036854775807]", "[3]", "[0]", "[]",
                            "[4294967296,4294967296,0]"}) {
    CAPTURE(shape);
    CHECK(absl::StrContains(Refusal(entry("\"F32\"", shape, "[0,8]"), 8),
                            absl::StrCat("tensor 'a': shape '", shape, "' does not fit the 8 bytes")));
  }
}

TEST_CASE("safetensors: the tensors must cover the data exactly") {
  const auto two = [](int b0, int e0, int b1, int e1) {
    return absl::StrCat(R"({"a":{"dtype":"F32","shape":[)", (e0 - b0) / 4, R"(],"data_offsets":[)", b0, ",", e0,
                        R"(]},"b":{"dtype":"F32","shape":[)", (e1 - b1) / 4, R"(],"data_offsets":[)", b1, ",", e1,
                        "]}}");
  };
  CHECK(SafetensorsFile::Parse("f", FileOf(two(0, 8, 8, 12), 12)).ok());
  CHECK(SafetensorsFile::Parse("f", FileOf(two(4, 12, 0, 4), 12)).ok());
  CHECK(absl::StrContains(Refusal(two(0, 8, 4, 12), 12),
                          "tensor 'b': its data begins at 4, inside another's, which ends at 8"));
  CHECK(absl::StrContains(Refusal(two(0, 8, 0, 8), 8), "inside another's"));
  CHECK(absl::StrContains(Refusal(two(0, 4, 8, 12), 12), "tensor 'b': its data begins at 8, after a hole from 4"));
  CHECK(absl::StrContains(Refusal(two(4, 8, 8, 12), 12), "tensor 'a': its data begins at 4, after a hole from 0"));
  CHECK(absl::StrContains(Refusal(two(0, 4, 4, 8), 12), "the tensors end at byte 8 of the data, which has 12"));
  CHECK(absl::StrContains(Refusal("{}", 1), "the tensors end at byte 0 of the data, which has 1"));
}

TEST_CASE("safetensors: long and unprintable names stay readable in messages") {
  const std::string message = Refusal("{\"\\u0007" + std::string(1000, 'x') + "\":{}}", 0);
  CHECK(message.size() < 200);
  CHECK(absl::StrContains(message, "tensor '\\x07xxx"));
}

// A mutated file either is refused with a message or still gives tensors that lie within it.
TEST_CASE("safetensors: mutations of a good file never crash") {
  const std::vector<float> values(50, 0.5f);
  const std::string good = WrittenBytes(
      {{"conv.weight", {2, 5}, absl::MakeSpan(values).first(10)}, {"b", {40}, absl::MakeSpan(values).first(40)}},
      {{"format", "pt"}});
  const std::uint64_t seed = TestSeed();
  const std::string alphabet = "{}[]\",:0123456789-.eE\\ \xff";
  int accepted = 0, refused = 0;
  for (std::uint64_t run = 0; run < 20'000; ++run) {
    std::uint64_t state = HashCombine(seed, run);
    const auto draw = [&](std::uint64_t below) { return (state = Mix64(state)) % below; };
    std::string bytes = good;
    for (std::uint64_t changes = 1 + draw(4); changes > 0 && !bytes.empty(); --changes) {
      const std::size_t at = draw(draw(2) ? std::min<std::size_t>(bytes.size(), 220) : bytes.size());
      switch (draw(5)) {
        case 0:
          bytes[at] = static_cast<char>(draw(256));
          break;
        case 1:
          bytes[at] = alphabet[draw(alphabet.size())];
          break;
        case 2:
          bytes.erase(at, 1 + draw(8));
          break;
        case 3:
          bytes.insert(at, bytes.substr(draw(bytes.size()), 1 + draw(30)));
          break;
        default:
          bytes.resize(at);
          break;
      }
    }
    const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Parse("f", bytes);
    ++(file.ok() ? accepted : refused);
    if (!file.ok()) {
      REQUIRE(absl::StartsWith(file.status().message(), "f: "));
      continue;
    }
    for (const SafetensorsFile::Tensor& tensor : file->tensors()) {
      REQUIRE(tensor.offset + 4 * tensor.count <= bytes.size());
      REQUIRE(Values(*file, tensor).size() == tensor.count);
    }
  }
  CHECK(accepted > 100);  // changed values, names or metadata
  CHECK(refused > 10'000);
}

}  // namespace
}  // namespace leeway
