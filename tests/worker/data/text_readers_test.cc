#include <cstdint>
#include <limits>
#include <random>

#include "common/machine.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/worker/data/support.h"
#include "worker/data/csv.h"
#include "worker/data/libsvm.h"

namespace leeway {
namespace {

using Catch::Contains;
using Reader = absl::StatusOr<Dataset> (*)(const std::string&, const TextOptions&);

absl::StatusOr<Dataset> Load(Reader read, const std::string& text, const TextOptions& options = {}) {
  const TempDirectory directory;
  return read(directory.Write("file", text), options);
}

std::string Error(Reader read, const std::string& text, const TextOptions& options = {}) {
  const TempDirectory directory;
  const auto data = read(directory.Write("file", text), options);
  REQUIRE_FALSE(data.ok());
  const std::string message(data.status().message());
  CHECK(message.find('\n') == std::string::npos);
  REQUIRE(message.find(directory.path()) == 0);
  return message.substr(directory.path().size() + 1);
}

std::vector<float> Record(const Dataset& data, std::uint64_t index) {
  std::vector<float> features(data.features_per_record());
  std::int32_t label = 0;
  data.Gather({index}, features.data(), &label);
  CHECK(label == data.label(index));
  return features;
}

TEST_CASE("CSV: header, byte order mark, CRLF, spaces, empty lines and no last newline") {
  for (const char* header : {"", "label,x,y\n", "\xef\xbb\xbf\"label\",\"x\",\"y\"\r\n", "\xef\xbb\xbf"}) {
    const auto data = Load(LoadCsv, std::string(header) + "2,1.5,-3e2\r\n\r\n 0 , +7 ,\t.25");
    INFO(data.status());
    REQUIRE(data.ok());
    CHECK(data->num_records() == 2);
    CHECK(data->num_classes() == 3);
    CHECK(data->shape() == FeatureShape{1, 1, 2});
    CHECK(Record(*data, 0) == std::vector<float>{1.5f, -300});
    CHECK(Record(*data, 1) == std::vector<float>{7, 0.25f});
    CHECK(data->label(0) == 2);
  }
}

TEST_CASE("CSV: labels in the notation of other programs; two classes as -1 and +1") {
  const auto floats = Load(LoadCsv, "3.000000e+00,1\n0.0,2\n");
  REQUIRE(floats.ok());
  CHECK(floats->label(0) == 3);
  const auto signs = Load(LoadCsv, "+1,1\n-1,2\n");
  REQUIRE(signs.ok());
  CHECK(signs->num_classes() == 2);
  CHECK(signs->label(0) == 1);
  CHECK(signs->label(1) == 0);
  CHECK(Error(LoadCsv, "-1,1\n\n0,2\n") ==
        "file: line 3, field 1: the label is 0, but line 1 has -1; such a file may hold only -1 and +1");
}

TEST_CASE("CSV: errors name line and field") {
  CHECK(Error(LoadCsv, "") == "file: there is no record");
  CHECK(Error(LoadCsv, "a,b\n") == "file: there is no record");
  CHECK(Error(LoadCsv, "1,2\n1,x2\n") == "file: line 2, field 2: 'x2' is not a finite number");
  CHECK(Error(LoadCsv, "1,2\n1,\n") == "file: line 2, field 2: '' is not a finite number");
  CHECK(Error(LoadCsv, "1,nan\n") == "file: line 1, field 2: 'nan' is not a finite number");
  CHECK(Error(LoadCsv, "1,1e39\n") == "file: line 1, field 2: '1e39' is not a finite number");
  CHECK(Error(LoadCsv, "1,-inf\n") == "file: line 1, field 2: '-inf' is not a finite number");
  CHECK(Error(LoadCsv, "1,+-3\n") == "file: line 1, field 2: '+-3' is not a finite number");
  CHECK(Error(LoadCsv, "1,2\n1.5,2\n") == "file: line 2, field 1: '1.5' is not a label (a whole number)");
  CHECK(Error(LoadCsv, "1,2\n-2,2\n") == "file: line 2, field 1: '-2' is not a label (a whole number)");
  CHECK(Error(LoadCsv, "1,2\n70000,2\n") == "file: line 2, field 1: '70000' is not a label (a whole number)");
  CHECK(Error(LoadCsv, "1,2,3\n\n1,2\n") == "file: line 3: has 2 fields; expected are a label and 2 features");
  CHECK(Error(LoadCsv, "1\n2\n") == "file: line 1, field 1: '1' is all there is: no feature follows");
  CHECK(Error(LoadCsv, "1,2\na,b\n") == "file: line 2, field 1: 'a' is not a label (a whole number)");
  CHECK_THAT(Error(LoadCsv, "1," + std::string(100, '\x01') + "\n"), Contains("'\\x01\\x01") && Contains("...'"));
}

TEST_CASE("CSV: options fix features and classes and bound memory") {
  CHECK(Error(LoadCsv, "1,2,3\n", {3, {}}) == "file: line 1: has 3 fields; expected are a label and 3 features");
  CHECK(Error(LoadCsv, "1,2\n4,2\n", {{}, 4}) == "file: line 2, field 1: the label is 4; allowed are 0 to 3");
  CHECK(Load(LoadCsv, "1,2\n", {{}, 4})->num_classes() == 4);
  CHECK(Error(LoadCsv, "1,2,3\n1,2,3\n", {{}, {}, 3}) == "file: line 2: more than 3 values");
}

TEST_CASE("LibSVM: sparse lines become dense records") {
  const auto data = Load(LoadLibsvm, "+1 1:0.5 4:-2 # comment\n-1\t2:3\r\n# only a comment\n-1\n");
  INFO(data.status());
  REQUIRE(data.ok());
  CHECK(data->num_records() == 3);
  CHECK(data->num_classes() == 2);
  CHECK(Record(*data, 0) == std::vector<float>{0.5f, 0, 0, -2});
  CHECK(Record(*data, 1) == std::vector<float>{0, 3, 0, 0});
  CHECK(Record(*data, 2) == std::vector<float>{0, 0, 0, 0});
  CHECK(data->label(0) == 1);
  CHECK(data->label(1) == 0);
  CHECK(Load(LoadLibsvm, "1 1:2\n", {7, {}})->features_per_record() == 7);
}

TEST_CASE("LibSVM: errors name line and field") {
  CHECK(Error(LoadLibsvm, "") == "file: there is no record");
  CHECK(Error(LoadLibsvm, "1\n0\n") == "file: no record has a feature");
  CHECK(Error(LoadLibsvm, "x 1:2\n") == "file: line 1, field 1: 'x' is not a label (a whole number)");
  CHECK(Error(LoadLibsvm, "1:2 1:2\n") == "file: line 1, field 1: '1:2' is not a label (a whole number)");
  for (const char* word : {"1", "1:", ":1", "1:x", "1:nan", "-1:2", "a:2", "1 :2", "99999999999:1", "qid:3", "1:2:3"}) {
    CHECK_THAT(Error(LoadLibsvm, std::string("\n1 ") + word + "\n"),
               Contains("file: line 2, field 2: '") && Contains("' is not index:value with a finite value"));
  }
  CHECK(Error(LoadLibsvm, "1 0:2\n") ==
        "file: line 1, field 2: the index is 0; allowed here are 1 to 1048576 (indices count from 1 and ascend)");
  CHECK(Error(LoadLibsvm, "1 5:2 5:3\n", {9, {}}) ==
        "file: line 1, field 3: the index is 5; allowed here are 6 to 9 (indices count from 1 and ascend)");
  CHECK(Error(LoadLibsvm, "1 10:2\n", {9, {}}) ==
        "file: line 1, field 2: the index is 10; allowed here are 1 to 9 (indices count from 1 and ascend)");
}

TEST_CASE("LibSVM: a few sparse lines cannot ask for any amount of memory") {
  std::string text = "1 1048576:1\n";
  for (int i = 0; i < 5000; ++i) text += "0\n";
  CHECK(Error(LoadLibsvm, text) ==
        "file: 5001 records of 1048576 features are too many to hold densely; at most "
        "4294967296 values are allowed");
  // Nor for more than this machine has.
  TextOptions any;
  any.max_values = std::numeric_limits<std::uint64_t>::max();
  text = "1 1048576:1\n";
  for (std::uint64_t bytes = 0; bytes < 2 * TotalMemoryBytes(); bytes += 4 << 20) text += "0\n";
  CHECK_THAT(Error(LoadLibsvm, text, any), Catch::StartsWith("file: takes "));
}

TEST_CASE("CSV and LibSVM: mutated files load or fail with a line, and never crash") {
  const TempDirectory directory;
  std::mt19937_64 random(TestSeed());
  const std::string csv = "label,a,b,c\n0,1.5,2,-3\n1,2e3,0,1\n2,0,0,0.125\n";
  const std::string libsvm = "0 1:1.5 2:2 3:-3\n1 1:2e3 # note\n2 3:0.125\n";
  for (const auto& [read, valid] : {std::pair<Reader, std::string>{LoadCsv, csv}, {LoadLibsvm, libsvm}}) {
    REQUIRE(Load(read, valid).ok());
    int loaded = 0, failed = 0;
    for (int i = 0; i < 4000; ++i) {
      const std::string path = directory.Write("file", Mutate(valid, random));
      const auto data = read(path, {{}, {}, 100'000});
      if (data.ok()) {
        ++loaded;
        Record(*data, data->num_records() - 1);
      } else {
        ++failed;
        REQUIRE(data.status().message().size() > path.size());
      }
    }
    CHECK(loaded > 100);
    CHECK(failed > 100);
  }
}

}  // namespace
}  // namespace leeway
