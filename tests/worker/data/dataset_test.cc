#include "worker/data/dataset.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "tests/catch.h"
#include "tests/seed.h"

namespace leeway {
namespace {

std::string Message(const absl::Status& status) { return std::string(status.message()); }

Dataset Bytes(std::vector<std::uint8_t> features, std::vector<std::int32_t> labels, Normalization normalization = {},
              FeatureShape shape = {1, 1, 2}) {
  auto data = Dataset::FromBytes("bytes", shape, 10, std::move(features), std::move(labels), normalization);
  REQUIRE(data.ok());
  return *std::move(data);
}

TEST_CASE("Dataset: bytes are normalised when gathered, in the order asked for") {
  const Dataset data = Bytes({0, 51, 102, 153, 204, 255}, {7, 8, 9}, {0.5f, 0.25f});
  CHECK(data.num_records() == 3);
  CHECK(data.features_per_record() == 2);
  CHECK(data.num_classes() == 10);
  std::vector<float> features(8);
  std::vector<std::int32_t> labels(4);
  data.Gather({2, 0, 2, 1}, features.data(), labels.data());
  CHECK(labels == std::vector<std::int32_t>{9, 7, 9, 8});
  const std::vector<float> expected{1.2f, 2.0f, -2.0f, -1.2f, 1.2f, 2.0f, -0.4f, 0.4f};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(features[i] == Approx(expected[i]));
}

TEST_CASE("Dataset: every byte value is the rounded result of the formula") {
  std::vector<std::uint8_t> all(256);
  std::iota(all.begin(), all.end(), 0);
  const Normalization normalization{0.2860f, 0.3530f};
  const Dataset data = Bytes(all, {0}, normalization, {1, 16, 16});
  std::vector<float> features(256);
  std::int32_t label = -1;
  data.Gather({0}, features.data(), &label);
  for (int x = 0; x < 256; ++x) {
    CHECK(features[x] == static_cast<float>((x / 255.0 - normalization.mean) / normalization.stddev));
  }
}

TEST_CASE("Dataset: floats are gathered as they are; no index gives nothing") {
  const auto data = Dataset::FromFloats("floats", {1, 1, 3}, 2, {1, 2, 3, -4.5f, 5, 6}, {0, 1});
  REQUIRE(data.ok());
  std::vector<float> features(3, 99);
  std::int32_t label = 99;
  data->Gather({}, features.data(), &label);
  CHECK(features == std::vector<float>{99, 99, 99});
  CHECK(label == 99);
  data->Gather({1}, features.data(), &label);
  CHECK(features == std::vector<float>{-4.5f, 5, 6});
  CHECK(label == 1);
}

TEST_CASE("Dataset: the computed normalisation gives mean 0 and deviation 1") {
  std::mt19937_64 random(TestSeed());
  std::vector<std::uint8_t> bytes(10000);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random() % 200);
  const Normalization normalization = ComputeNormalization(bytes);
  const Dataset data = Bytes(bytes, std::vector<std::int32_t>(100, 3), normalization, {1, 10, 10});
  std::vector<std::uint64_t> indices(100);
  std::iota(indices.begin(), indices.end(), 0);
  std::vector<float> features(bytes.size());
  std::vector<std::int32_t> labels(100);
  data.Gather(indices, features.data(), labels.data());
  double sum = 0, squares = 0;
  for (float x : features) {
    sum += x;
    squares += double{x} * x;
  }
  CHECK(std::abs(sum / 10000) < 1e-4);
  CHECK(squares / 10000 == Approx(1).epsilon(1e-4));
}

TEST_CASE("Dataset: bytes that are all the same have deviation 1, and no bytes are no division by zero") {
  for (int value : {0, 1, 77, 255}) {
    const Normalization normalization =
        ComputeNormalization(std::vector<std::uint8_t>(784, static_cast<std::uint8_t>(value)));
    CHECK(normalization.mean == Approx(value / 255.0));
    CHECK(normalization.stddev == 1);
  }
  CHECK(ComputeNormalization({}).stddev == 1);
}

TEST_CASE("Dataset: the fingerprint is of features, labels, shape, classes and normalisation") {
  const auto make = [](std::vector<std::uint8_t> features, std::vector<std::int32_t> labels, std::uint32_t classes,
                       FeatureShape shape, float mean) {
    auto data = Dataset::FromBytes("x", shape, classes, features, labels, {mean, 1});
    REQUIRE(data.ok());
    return data->fingerprint();
  };
  const std::uint64_t base = make({1, 2, 3, 4}, {0, 1}, 2, {1, 1, 2}, 0);
  CHECK(base != 0);
  CHECK(make({1, 2, 3, 4}, {0, 1}, 2, {1, 1, 2}, 0) == base);
  CHECK(make({1, 2, 3, 5}, {0, 1}, 2, {1, 1, 2}, 0) != base);
  CHECK(make({3, 4, 1, 2}, {0, 1}, 2, {1, 1, 2}, 0) != base);
  CHECK(make({1, 2, 3, 4}, {1, 1}, 2, {1, 1, 2}, 0) != base);
  CHECK(make({1, 2, 3, 4}, {0, 1}, 3, {1, 1, 2}, 0) != base);
  CHECK(make({1, 2, 3, 4}, {0, 1}, 2, {1, 2, 1}, 0) != base);
  CHECK(make({1, 2, 3, 4}, {0, 1}, 2, {1, 1, 2}, 0.5f) != base);
}

TEST_CASE("Dataset: what makes no data set is refused, with names and values") {
  const auto bytes = [](FeatureShape shape, std::uint32_t classes, std::size_t features,
                        std::vector<std::int32_t> labels, Normalization normalization = {}) {
    return Message(
        Dataset::FromBytes("F", shape, classes, std::vector<std::uint8_t>(features), labels, normalization).status());
  };
  CHECK(bytes({1, 1, 2}, 10, 0, {}) == "F: there is no record");
  CHECK(bytes({1, 1, 2}, 0, 2, {0}) == "F: there is no class");
  CHECK(bytes({1, 2, 3}, 10, 7, {0}) == "F: 7 features do not make 1 records of 1 x 2 x 3");
  CHECK(bytes({1, 0, 3}, 10, 0, {0}) == "F: 0 features do not make 1 records of 1 x 0 x 3");
  CHECK(bytes({1, 1, 2}, 10, 4, {0, 10}) == "F: record 1 has the label 10; allowed are 0 to 9");
  CHECK(bytes({1, 1, 2}, 10, 4, {-1, 0}) == "F: record 0 has the label -1; allowed are 0 to 9");
  CHECK_THAT(bytes({4000000000u, 4000000000u, 4000000000u}, 10, 4, {0}), Catch::Contains("is 4000000000; at most"));
  CHECK_THAT(bytes({1, 1, 2}, 10, 2, {0}, {0, 0}), Catch::Contains("standard deviation 0"));
  CHECK_THAT(bytes({1, 1, 2}, 10, 2, {0}, {std::numeric_limits<float>::quiet_NaN(), 1}), Catch::Contains("mean nan"));
  CHECK_THAT(bytes({1, 1, 2}, 10, 2, {0}, {0, 1e-45f}), Catch::Contains("overflow"));
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(Message(Dataset::FromFloats("F", {1, 1, 2}, 2, {1, 2, 3, inf}, {0, 1}).status()) ==
        "F: record 1, feature 1 is inf; features must be finite");
}

TEST_CASE("Dataset: a text is cut into windows, each token's label is the next one") {
  const auto data = Dataset::FromTokens("text", 10, 3, {0, 1, 2, 3, 4, 5, 6, 7, 8});
  REQUIRE(data.ok());
  CHECK(data->has_tokens());
  CHECK(data->num_records() == 2);  // 7 and 8 make no window
  CHECK(data->features_per_record() == 3);
  CHECK(data->labels_per_record() == 3);
  CHECK(data->num_classes() == 10);
  std::vector<std::int32_t> tokens(6), labels(6);
  data->Gather({1, 0}, tokens.data(), labels.data());
  CHECK(tokens == std::vector<std::int32_t>{3, 4, 5, 0, 1, 2});
  CHECK(labels == std::vector<std::int32_t>{4, 5, 6, 1, 2, 3});
  const auto other = Dataset::FromTokens("text", 10, 3, {0, 1, 2, 3, 4, 5, 6, 7, 9});
  CHECK(other->fingerprint() != data->fingerprint());
}

TEST_CASE("Dataset: texts that are too short or have tokens outside the vocabulary are refused") {
  CHECK_THAT(Message(Dataset::FromTokens("text", 10, 3, {0, 1, 2}).status()),
             Catch::Contains("text: 3 tokens") && Catch::Contains("need 4"));
  CHECK_THAT(Message(Dataset::FromTokens("text", 10, 3, {}).status()), Catch::Contains("0 tokens"));
  CHECK_THAT(Message(Dataset::FromTokens("text", 10, 0, {1, 2}).status()), Catch::Contains("windows of 0 tokens"));
  CHECK_THAT(Message(Dataset::FromTokens("text", 10, 1, {1, 2, 10, 3}).status()),
             Catch::Contains("token 2 is 10") && Catch::Contains("vocabulary of 10"));
}

}  // namespace
}  // namespace leeway
