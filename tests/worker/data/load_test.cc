#include "worker/data/load.h"

#include "tests/catch.h"
#include "tests/worker/data/support.h"
#include "worker/data/synthetic.h"

namespace leeway {
namespace {

using Catch::Contains;

std::string Error(const std::string& spec, Split split = Split::kTrain) {
  const auto data = LoadDataset(spec, split);
  REQUIRE_FALSE(data.ok());
  // All that is wrong with these can be said before anything is read.
  CHECK(CheckDataset(spec, split) == data.status());
  return std::string(data.status().message());
}

TEST_CASE("LoadDataset: what is not understood says what is allowed") {
  CHECK_THAT(Error(""), Contains("allowed are a directory, idx:DIR"));
  CHECK_THAT(Error("parquet:x"), Contains("the kind 'parquet' is unknown; allowed are"));
  CHECK_THAT(Error("/no/such"), Contains("/no/such: is no directory"));
  CHECK_THAT(Error("idx:/no/such"), Contains("/no/such: is no directory"));
  CHECK_THAT(Error("/no/s:ch"), Contains("/no/s:ch: is no directory"));
  CHECK_THAT(Error("csv:/no/such"), Contains("/no/such: cannot be opened"));
  CHECK_THAT(Error("synthetic:many"), Contains("'many' is not a number of records"));
  CHECK_THAT(Error("synthetic:-1"), Contains("'-1' is not a number of records"));
  CHECK_THAT(Error("synthetic:0"), Contains("0 records; allowed are 1 to"));
  CHECK_THAT(Error("synthetic:0", Split::kTest), Contains("0 records; allowed are 1 to"));
  CHECK_THAT(Error("synthetic:99999999999"), Contains("99999999999 records; allowed are 1 to"));
}

TEST_CASE("CheckDataset: looks for every file of the split, and reads none") {
  const TempDirectory directory;
  directory.Write("train-images-idx3-ubyte", "no images");
  directory.Write("train-labels-idx1-ubyte.gz", "no labels");
  CHECK(CheckDataset(directory.path(), Split::kTrain).ok());
  CHECK_THAT(std::string(CheckDataset("idx:" + directory.path(), Split::kTest).message()),
             Contains("t10k-images-idx3-ubyte[.gz], t10k-labels-idx1-ubyte[.gz], which are not there"));
  const std::string file = directory.Write("file.csv", "no numbers");
  CHECK(CheckDataset("csv:" + file, Split::kTrain).ok());
  CHECK(CheckDataset("csv:" + file + "," + file, Split::kTest).ok());
  CHECK(absl::IsInvalidArgument(CheckDataset("libsvm:" + file, Split::kTest)));
  CHECK(absl::IsNotFound(CheckDataset("libsvm:" + file + "," + file + "2", Split::kTest)));
  CHECK(CheckDataset("libsvm:" + file + "," + file + "2", Split::kTrain).ok());
  CHECK(CheckDataset("synthetic:100", Split::kTest).ok());
}

TEST_CASE("LoadDataset: tokens") {
  const TempDirectory directory;
  const std::string text = directory.Write("text", std::string(100, 'a')), other = directory.Write("other", "abcdef");
  CHECK(LoadDataset("tokens:" + text, Split::kTrain, {5, 0})->num_records() == 18);
  CHECK(LoadDataset("tokens:" + text, Split::kTest, {5, 0})->num_records() == 1);
  CHECK(LoadDataset("tokens:" + text + "," + other, Split::kTrain, {5, 0})->num_records() == 19);
  CHECK(LoadDataset("tokens:" + text + "," + other, Split::kTest, {5, 0})->num_records() == 1);
  CHECK(absl::IsNotFound(LoadDataset("tokens:/no/such", Split::kTrain, {5, 0}).status()));
  CHECK_THAT(Error("tokens:" + text + ","), Contains("no test file behind the comma"));
  CHECK_THAT(Error("tokens:" + text + "," + text + ".bin"), Contains("bytes and tokens do not go together"));
  CHECK_THAT(Error("tokens:" + text + ".bin," + text), Contains("bytes and tokens do not go together"));
  CHECK_THAT(Error("tokens:" + text + ".bin.gz"), Contains("text.bin.gz': tokens are read from an unpacked .bin"));
  CHECK_THAT(Error("tokens:" + text + ".bin," + text + ".bin.gz"), Contains("unpacked .bin"));
  CHECK(CheckDataset("tokens:" + text, Split::kTest).ok());
  CHECK(CheckDataset("tokens:" + text + ",/no/such", Split::kTrain).ok());
  CHECK(absl::IsNotFound(CheckDataset("tokens:" + text + ",/no/such", Split::kTest)));
  CHECK_THAT(std::string(LoadDataset("tokens:" + text, Split::kTrain).status().message()),
             Contains("only --model=gpt takes tokens"));
}

TEST_CASE("LoadDataset: directories, with and without idx:") {
  const TempDirectory directory;
  directory.Write("train-images-idx3-ubyte", Idx({1, 1, 2}, "ab"));
  directory.Write("train-labels-idx1-ubyte", Idx({1}, std::string(1, '\3')));
  const auto plain = LoadDataset(directory.path(), Split::kTrain);
  const auto named = LoadDataset("idx:" + directory.path(), Split::kTrain);
  REQUIRE(plain.ok());
  REQUIRE(named.ok());
  CHECK(plain->fingerprint() == named->fingerprint());
}

TEST_CASE("LoadDataset: a test file is read in the training file's terms") {
  const TempDirectory directory;
  const std::string train = directory.Write("train", "0 1:1 5:2\n3 2:1\n");
  const std::string test = directory.Write("test", "1 2:7\n");
  const auto data = LoadDataset("libsvm:" + train + "," + test, Split::kTest);
  REQUIRE(data.ok());
  CHECK(data->features_per_record() == 5);
  CHECK(data->num_classes() == 4);
  CHECK(data->num_records() == 1);
  CHECK(LoadDataset("libsvm:" + train, Split::kTrain)->num_records() == 2);
  CHECK_THAT(Error("libsvm:" + train, Split::kTest), Contains("no test file is named"));
  CHECK_THAT(Error("libsvm:" + train + ",", Split::kTest), Contains("no test file is named"));
  const std::string csv = directory.Write("wide.csv", "0,1,2\n1,3,4\n");
  const std::string narrow = directory.Write("narrow.csv", "0,1\n");
  CHECK_THAT(std::string(LoadDataset("csv:" + csv + "," + narrow, Split::kTest).status().message()),
             Contains("narrow.csv: line 1: has 2 fields"));
}

TEST_CASE("Synthetic data: the same on every machine, other records per split and seed") {
  const auto train = MakeSynthetic(100, 1, Split::kTrain);
  REQUIRE(train.ok());
  CHECK(train->fingerprint() == MakeSynthetic(100, 1, Split::kTrain)->fingerprint());
  CHECK(train->fingerprint() != MakeSynthetic(100, 1, Split::kTest)->fingerprint());
  CHECK(train->fingerprint() != MakeSynthetic(100, 2, Split::kTrain)->fingerprint());
  CHECK(train->fingerprint() == 0xead3f8835bf35f31u);
  CHECK(LoadDataset("synthetic:600", Split::kTrain)->num_records() == 600);
  CHECK(LoadDataset("synthetic:600", Split::kTest)->num_records() == 100);
  CHECK(LoadDataset("synthetic:1", Split::kTest)->num_records() == 1);
}

// The test records' nearest class mean of the training records: what a linear model can do at least.
TEST_CASE("Synthetic data: can be learnt, and not by heart") {
  const auto train = LoadDataset("synthetic:3000", Split::kTrain);
  const auto test = LoadDataset("synthetic:3000", Split::kTest);
  REQUIRE(train.ok());
  REQUIRE(test.ok());
  std::vector<std::vector<double>> means(10, std::vector<double>(784));
  std::vector<int> counts(10);
  std::vector<float> features(784);
  std::int32_t label = 0;
  for (std::uint64_t i = 0; i < train->num_records(); ++i) {
    train->Gather({i}, features.data(), &label);
    ++counts[label];
    for (int j = 0; j < 784; ++j) means[label][j] += features[j];
  }
  for (int c = 0; c < 10; ++c) {
    CHECK(counts[c] > 200);
    for (double& x : means[c]) x /= counts[c];
  }
  int correct = 0;
  for (std::uint64_t i = 0; i < test->num_records(); ++i) {
    test->Gather({i}, features.data(), &label);
    std::vector<double> distances(10);
    for (int c = 0; c < 10; ++c) {
      for (int j = 0; j < 784; ++j) distances[c] += (features[j] - means[c][j]) * (features[j] - means[c][j]);
    }
    correct += std::min_element(distances.begin(), distances.end()) - distances.begin() == label;
  }
  const double accuracy = static_cast<double>(correct) / static_cast<double>(test->num_records());
  INFO("accuracy " << accuracy);
  CHECK(accuracy > 0.7);
  CHECK(accuracy < 0.999);
}

}  // namespace
}  // namespace leeway
