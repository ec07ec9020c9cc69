#include "worker/trainer/weights_file.h"

#include <cstdlib>
#include <filesystem>
#include <limits>
#include <numeric>

#include "tests/catch.h"

namespace leeway {
namespace {

Manifest TwoTensors(const std::string& second, std::int64_t rows) {
  v1::Manifest proto;
  proto.set_model("two");
  v1::TensorSpec& a = *proto.add_tensors();
  a.set_name("a");
  a.add_shape(2);
  a.add_shape(3);
  v1::TensorSpec& b = *proto.add_tensors();
  b.set_name(second);
  b.add_shape(rows);
  return Manifest::FromProto(proto).value();
}

TEST_CASE("Weights come back as they were saved; another model's are refused by name") {
  char folder[] = "/tmp/weights_file_test.XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const std::string path = std::string(folder) + "/w.safetensors";
  const Manifest manifest = TwoTensors("b", 4);
  std::vector<float> weights(10);
  std::iota(weights.begin(), weights.end(), -3.5f);
  REQUIRE(SaveWeights(RealFileSystem(), path, manifest, weights.data()).ok());
  const auto loaded = LoadWeights(RealFileSystem(), path, manifest);
  REQUIRE(loaded.ok());
  CHECK(**loaded == weights);

  const absl::Status unknown = LoadWeights(RealFileSystem(), path, TwoTensors("c", 4)).status();
  CHECK(absl::IsInvalidArgument(unknown));
  CHECK(unknown.ToString().find("'b'") != std::string::npos);
  const absl::Status shape = LoadWeights(RealFileSystem(), path, TwoTensors("b", 5)).status();
  CHECK(shape.ToString().find("[4]") != std::string::npos);
  CHECK(shape.ToString().find("[5]") != std::string::npos);
  weights[7] = std::numeric_limits<float>::infinity();
  REQUIRE(SaveWeights(RealFileSystem(), path, manifest, weights.data()).ok());
  CHECK(absl::IsInvalidArgument(LoadWeights(RealFileSystem(), path, manifest).status()));
  CHECK(absl::IsNotFound(LoadWeights(RealFileSystem(), path + "x", manifest).status()));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace leeway
