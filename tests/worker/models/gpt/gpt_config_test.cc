// What --model=gpt:... says, and the manifests that come of it.
#include "worker/models/gpt/gpt_config.h"

#include <map>
#include <string>

#include "common/manifest.h"
#include "tests/catch.h"
#include "worker/models/gpt/gpt_tensors.h"

namespace leeway {
namespace {

std::string Describe(const std::string& sizes) {
  const absl::StatusOr<GptConfig> config = ParseGptSizes(sizes);
  if (!config.ok()) return std::string(config.status().message());
  std::string text;
  for (const std::int64_t size : {config->layers, config->width, config->heads, config->context, config->vocabulary}) {
    text += std::to_string(size) + " ";
  }
  return text;
}

TEST_CASE("sizes by name, one by one, and both") {
  CHECK(Describe("1m") == "5 128 4 128 0 ");
  CHECK(Describe("124m") == "12 768 12 1024 0 ");
  CHECK(Describe("layers=2,width=64,heads=2,context=32,vocab=100") == "2 64 2 32 100 ");
  CHECK(Describe("10m,context=512") == "8 320 5 512 0 ");
  CHECK(Describe("layers=2") == "2 128 4 128 0 ");
}

TEST_CASE("what is not understood or impossible is refused by name, with what is allowed") {
  for (const char* bad : {"", "2m", "layers", "context=512,10m", "layers=2,", "depth=3"}) {
    CHECK_THAT(Describe(bad), Catch::Contains("--model=gpt:") && Catch::Contains("124m") && Catch::Contains("layers="));
  }
  for (const char* bad : {"layers=0", "layers=-1", "layers=x", "layers=1025", "layers=99999999999999999999"}) {
    CHECK_THAT(Describe(bad), Catch::Contains(bad) && Catch::Contains("layers=1 to 1024"));
  }
  CHECK_THAT(Describe("width=100,heads=3"), Catch::Contains("width 100 is no multiple of heads 3"));
}

std::uint64_t Parameters(const std::string& sizes, std::int64_t vocabulary) {
  GptConfig config = ParseGptSizes(sizes).value();
  config.vocabulary = vocabulary;
  return Manifest::FromProto(GptManifest("gpt", config)).value().elements();
}

TEST_CASE("named sizes have about the parameters that they are named by; 124m is GPT-2 small") {
  CHECK(Parameters("1m", 256) == Approx(1e6).epsilon(0.1));
  CHECK(Parameters("4m", 256) == Approx(4e6).epsilon(0.1));
  CHECK(Parameters("10m", 256) == Approx(10e6).epsilon(0.1));
  CHECK(Parameters("30m", 256) == Approx(30e6).epsilon(0.1));
  // GPT-2 small has 124,439,808 with 50257 rows in its embedding; ours are padded to 50304.
  CHECK(Parameters("124m", 50257) == 124439808 + (50304 - 50257) * 768);
}

TEST_CASE("initial values and groups are GPT-2's") {
  GptConfig config = ParseGptSizes("layers=2,width=64,heads=2,context=32,vocab=100").value();
  const Manifest manifest = Manifest::FromProto(GptManifest("gpt", config)).value();
  CHECK(manifest.tensors()[0].shape == std::vector<std::int64_t>{128, 64});
  for (const Tensor& tensor : manifest.tensors()) {
    INFO(tensor.name);
    const bool matrix = tensor.shape.size() == 2;
    CHECK(tensor.group == (matrix ? "weight" : "bias"));
    double sum = 0, squares = 0;
    for (std::uint64_t i = 0; i < tensor.count; ++i) {
      const double value = InitialValue(1, tensor, i);
      sum += value, squares += value * value;
    }
    const auto count = static_cast<double>(tensor.count);
    if (matrix) {
      const bool joins = tensor.name.find("c_proj") != std::string::npos;
      CHECK(std::sqrt(squares / count) == Approx(joins ? 0.01 : 0.02).epsilon(0.1));
    } else {
      const bool gain = tensor.name.find("ln_") != std::string::npos && tensor.name.find("weight") != std::string::npos;
      CHECK(sum == (gain ? count : 0));
    }
  }
}

}  // namespace
}  // namespace leeway
