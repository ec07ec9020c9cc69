#include "worker/data/idx.h"

#include <numeric>
#include <random>

#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/worker/data/support.h"

namespace leeway {
namespace {

using Catch::Contains;

// A valid pair of 6 images of 2 x 3 and their labels, to be spoilt.
struct Pair {
  std::string images = Idx({6, 2, 3}, std::string("abcdefghijklmnopqrstuvwxyz0123456789"));
  std::string labels = Idx({6}, std::string("\0\1\2\7\x8\x9", 6));
};

absl::StatusOr<Dataset> Load(const TempDirectory& directory, const Pair& pair, const IdxOptions& options = {}) {
  return LoadIdxDataset(directory.Write("images", pair.images), directory.Write("labels", pair.labels), options);
}

std::string Error(const TempDirectory& directory, const Pair& pair) {
  const auto data = Load(directory, pair);
  REQUIRE_FALSE(data.ok());
  const std::string message(data.status().message());
  CHECK(message.find('\n') == std::string::npos);
  CHECK(message.find(directory.path()) == 0);
  return message.substr(directory.path().size() + 1);
}

TEST_CASE("IDX: plain and gzip give the same data") {
  const TempDirectory directory;
  Pair pair;
  const auto plain = Load(directory, pair, {10, Normalization{0, 1.0f / 255}});
  REQUIRE(plain.ok());
  CHECK(plain->num_records() == 6);
  CHECK(plain->shape() == FeatureShape{1, 2, 3});
  std::vector<float> features(6);
  std::int32_t label = 0;
  plain->Gather({4}, features.data(), &label);
  CHECK(label == 8);
  for (int i = 0; i < 6; ++i) CHECK(features[i] == Approx("yz0123"[i]));

  pair.images = Gzip(pair.images);
  pair.labels = Gzip(pair.labels);
  const auto packed = Load(directory, pair, {10, Normalization{0, 1.0f / 255}});
  REQUIRE(packed.ok());
  CHECK(packed->fingerprint() == plain->fingerprint());
}

TEST_CASE("IDX: each kind of bad file has its own line") {
  const TempDirectory directory;
  Pair pair;
  SECTION("missing") {
    const auto data = LoadIdxDataset(directory.Path("none"), directory.Write("labels", pair.labels));
    CHECK(data.status().code() == absl::StatusCode::kNotFound);
    CHECK_THAT(std::string(data.status().message()), Contains("none: cannot be opened: No such file"));
  }
  SECTION("swapped") {
    std::swap(pair.images, pair.labels);
    CHECK(Error(directory, pair) ==
          "labels: holds images (3 IDX dimensions) where labels (1) are expected; are images and labels swapped?");
    pair.images = pair.labels = Pair().labels;
    CHECK(Error(directory, pair) ==
          "images: holds labels (1 IDX dimensions) where images (3) are expected; are images and labels swapped?");
  }
  SECTION("no IDX") {
    pair.images = "PK\x03\x04 and more";
    CHECK(Error(directory, pair) ==
          "images: is not an IDX file: it begins with 50 4b 03 04, IDX images begin with 00 00 08 03");
  }
  SECTION("type") {
    pair.images = Idx({6, 2, 3}, "", 0x0d);
    CHECK(Error(directory, pair) ==
          "images: its IDX data type is 0x0d (32-bit float); images have 0x08 (unsigned byte)");
  }
  SECTION("dimensions") {
    pair.images = Idx({6, 6}, std::string(36, 'x'));
    CHECK(Error(directory, pair) == "images: has 2 IDX dimensions; images have 3");
  }
  SECTION("truncated data") {
    pair.images.pop_back();
    CHECK(Error(directory, pair) ==
          "images: is truncated: its header says 6 images of 2 x 3, which is 36 bytes of data, but it holds 35");
    pair.images = Gzip(pair.images);
    CHECK(Error(directory, pair) ==
          "images: is truncated: its header says 6 images of 2 x 3, which is 36 bytes of data, but it holds 35");
  }
  SECTION("truncated header") {
    pair.images.resize(10);
    CHECK(Error(directory, pair) == "images: is truncated: it ends within the IDX header, after 10 bytes");
    pair.images.resize(1);
    CHECK(Error(directory, pair) == "images: is truncated: it ends within the IDX header, after 1 byte");
    pair.images = "";
    CHECK(Error(directory, pair) == "images: is truncated: it ends within the IDX header, after 0 bytes");
  }
  SECTION("truncated gzip") {
    pair.images = Gzip(pair.images);
    pair.images.resize(pair.images.size() - 9);
    CHECK_THAT(Error(directory, pair), Contains("images: the gzip data is cut off"));
  }
  SECTION("corrupt gzip") {
    pair.images = Gzip(pair.images);
    pair.images[pair.images.size() - 6] ^= 1;
    CHECK_THAT(Error(directory, pair), Contains("images: the gzip data is corrupt"));
  }
  SECTION("trailing bytes") {
    pair.labels += '\0';
    CHECK(Error(directory, pair) ==
          "labels: its header says 6 labels, which is 6 bytes of data, but more bytes follow");
    pair.labels = Gzip(pair.labels);
    CHECK(Error(directory, pair) ==
          "labels: its header says 6 labels, which is 6 bytes of data, but more bytes follow");
    pair.labels = Gzip(Pair().labels) + "more";
    CHECK(Error(directory, pair) == "labels: there are other bytes after the end of the gzip data");
  }
  SECTION("numbers differ") {
    pair.labels = Idx({5}, std::string(5, '\0'));
    CHECK(Error(directory, pair) == "images: holds 6 images, but " + directory.Path("labels") + " holds 5 labels");
  }
  SECTION("label outside the classes") {
    pair.labels.back() = '\xc8';
    CHECK(Error(directory, pair) == "labels: label 5 is 200; allowed are 0 to 9");
    CHECK(Load(directory, pair, {201, std::nullopt}).ok());
  }
  SECTION("nothing in it") {
    pair.images = Idx({0, 2, 3}, "");
    CHECK_THAT(Error(directory, pair), Contains("its header says 0 images of 2 x 3; there must be at least one"));
    pair.images = Idx({6, 0, 3}, "");
    CHECK_THAT(Error(directory, pair), Contains("its header says 6 images of 0 x 3; there must be"));
  }
}

TEST_CASE("IDX: absurd sizes are refused before memory is taken") {
  const TempDirectory directory;
  Pair pair;
  constexpr std::uint32_t kMax = 0xffffffff;
  pair.images = Idx({kMax, 4096, 4096}, "x");
  CHECK(Error(directory, pair) ==
        "images: is truncated: its header says 4294967295 images of 4096 x 4096, which is "
        "72057594021150720 bytes of data, but it holds 1");
  pair.images = Gzip(pair.images);
  CHECK_THAT(Error(directory, pair), Contains("72057594021150720 bytes of data, but it can hold at most"));
  pair.images = Idx({kMax, kMax, kMax}, "x");
  CHECK_THAT(Error(directory, pair), Contains("its header says 4294967295 images of 4294967295 x 4294967295; there"));
}

TEST_CASE("IDX: a decompression bomb is not unpacked beyond the header's claim") {
  const TempDirectory directory;
  Pair pair;
  pair.images = Gzip(Idx({6, 2, 3}, std::string(50'000'000, '\0')));
  CHECK_THAT(Error(directory, pair), Contains("36 bytes of data, but more bytes follow"));
}

TEST_CASE("IDX: mutated files load or fail with a line, and never crash") {
  const TempDirectory directory;
  std::mt19937_64 random(TestSeed());
  const Pair valid;
  REQUIRE(Load(directory, valid).ok());  // leaves both valid files there
  int loaded = 0, failed = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::string& original = i % 4 < 2 ? valid.images : valid.labels;
    const std::string mutated = directory.Write("mutated", Mutate(i % 2 == 1 ? Gzip(original) : original, random));
    const auto data = i % 4 < 2 ? LoadIdxDataset(mutated, directory.Path("labels"))
                                : LoadIdxDataset(directory.Path("images"), mutated);
    if (data.ok()) {
      ++loaded;
      CHECK(data->num_records() > 0);
    } else {
      ++failed;
      REQUIRE(data.status().message().size() > directory.path().size());
    }
  }
  CHECK(loaded > 0);
  CHECK(failed > 1000);
}

TEST_CASE("IDX directory: finds plain and gzip files, says what is missing") {
  const TempDirectory directory;
  const Pair pair;
  const auto error = [&](Split split) {
    return std::string(LoadImageDirectory(directory.path(), split).status().message());
  };
  CHECK(error(Split::kTrain) == directory.path() +
                                    ": a directory with IDX files must hold train-images-idx3-ubyte[.gz], "
                                    "train-labels-idx1-ubyte[.gz], which are not there");
  directory.Write("train-images-idx3-ubyte.gz", Gzip(pair.images));
  CHECK(error(Split::kTrain) ==
        directory.path() + ": a directory with IDX files must hold train-labels-idx1-ubyte[.gz], which is not there");
  directory.Write("train-labels-idx1-ubyte", pair.labels);
  CHECK(LoadImageDirectory(directory.path(), Split::kTrain).ok());
  CHECK_THAT(error(Split::kTest), Contains("t10k-images-idx3-ubyte[.gz], t10k-labels-idx1-ubyte[.gz]"));
  CHECK_THAT(std::string(LoadImageDirectory(directory.Path("none"), Split::kTrain).status().message()),
             Contains("none: is no directory"));
}

TEST_CASE("IDX directory: the test split is normalised as the training split is") {
  const TempDirectory directory;
  directory.Write("train-images-idx3-ubyte", Idx({1, 1, 2}, std::string("\0\xff", 2)));
  directory.Write("train-labels-idx1-ubyte", Idx({1}, std::string(1, '\0')));
  directory.Write("t10k-images-idx3-ubyte", Idx({1, 1, 2}, std::string("\xff\xff", 2)));
  directory.Write("t10k-labels-idx1-ubyte", Idx({1}, std::string(1, '\1')));
  const auto test = LoadImageDirectory(directory.path(), Split::kTest);
  REQUIRE(test.ok());
  std::vector<float> features(2);
  std::int32_t label = 0;
  test->Gather({0}, features.data(), &label);
  CHECK(features[0] == Approx(1));  // (1 - 0.5) / 0.5
  CHECK(label == 1);
}

TEST_CASE("IDX: Fashion-MNIST as the distribution has it (package dataset-fashion-mnist)") {
  const std::string directory = "/usr/share/datasets/fashion-mnist";
  const auto train = LoadImageDirectory(directory, Split::kTrain);
  INFO(train.status());
  REQUIRE(train.ok());
  CHECK(train->num_records() == 60000);
  CHECK(train->shape() == FeatureShape{1, 28, 28});
  std::vector<int> counts(10);
  for (std::uint64_t i = 0; i < train->num_records(); ++i) ++counts[train->label(i)];
  CHECK(counts == std::vector<int>(10, 6000));

  const auto test = LoadImageDirectory(directory, Split::kTest);
  INFO(test.status());
  REQUIRE(test.ok());
  CHECK(test->num_records() == 10000);
  // A corner pixel is 0: it shows the training set's known mean 0.2860 and deviation 0.3530.
  std::vector<float> features(784);
  std::int32_t label = 0;
  test->Gather({0}, features.data(), &label);
  CHECK(label == 9);
  CHECK(features[0] == Approx(-0.2860 / 0.3530).epsilon(1e-3));
}

}  // namespace
}  // namespace leeway
