// The models by name: their manifests, and names and sizes that are refused.
#include "worker/models/registry.h"

#include "tests/catch.h"

namespace leeway {
namespace {

ModelSpec Grey28(const std::string& name) { return {name, 1, 28, 28, 10}; }

std::vector<std::string> Describe(const ModelSpec& spec) {
  absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(spec);
  REQUIRE(model.ok());
  std::vector<std::string> lines;
  for (const Tensor& tensor : (*model)->manifest().tensors()) {
    std::string line = tensor.name;
    for (const std::int64_t dimension : tensor.shape) line += " " + std::to_string(dimension);
    lines.push_back(line);
  }
  return lines;
}

TEST_CASE("the models' tensors") {
  using Lines = std::vector<std::string>;
  CHECK(Describe(Grey28("softmax")) == Lines{"fc.weight 10 784", "fc.bias 10"});
  CHECK(Describe(Grey28("mlp")) == Lines{"fc1.weight 1024 784", "fc1.bias 1024", "fc2.weight 1024 1024",
                                         "fc2.bias 1024", "fc3.weight 10 1024", "fc3.bias 10"});
  CHECK(Describe(Grey28("mlp:128")) == Lines{"fc1.weight 128 784", "fc1.bias 128", "fc2.weight 10 128", "fc2.bias 10"});
  CHECK(Describe(Grey28("cnn")) == Lines{"conv1.weight 16 1 3 3", "conv1.bias 16", "conv2.weight 32 16 3 3",
                                         "conv2.bias 32", "fc1.weight 128 1568", "fc1.bias 128", "fc2.weight 10 128",
                                         "fc2.bias 10"});
}

TEST_CASE("models that differ have different fingerprints") {
  const auto fingerprint = [](const std::string& name) {
    absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(Grey28(name));
    REQUIRE(model.ok());
    return (*model)->manifest().fingerprint();
  };
  CHECK(fingerprint("mlp:16,8") == fingerprint("mlp:16,8"));
  CHECK(fingerprint("mlp:16,8") != fingerprint("mlp:8,16"));
  CHECK(fingerprint("softmax") != fingerprint("cnn"));
}

TEST_CASE("unknown names are refused with what is allowed") {
  for (const std::string name : {"", "CNN", "mlp2", "softmax:3", "cnn:16", "resnet"}) {
    CHECK(MakeModel(Grey28(name)).status() ==
          absl::InvalidArgumentError("--model=" + name + ": allowed are softmax, mlp[:hidden,...], cnn, gpt[:sizes]"));
  }
}

TEST_CASE("hidden sizes that are none are refused by name") {
  for (const std::string sizes : {"", "0", "-1", "12x", "8,,8", "8,", "1048577", "99999999999999999999", "1e3"}) {
    const absl::Status status = MakeModel(Grey28("mlp:" + sizes)).status();
    INFO(status.ToString());
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::StartsWith("--model=mlp:" + sizes + ": hidden size '"));
  }
}

TEST_CASE("gpt takes tokens, in sequences as long as its context, with a vocabulary that has them all") {
  const ModelSpec good{"gpt:layers=1,width=8,heads=2,context=5", 1, 1, 5, 70, true};
  CHECK(MakeModel(good).value()->manifest().tensors()[0].shape == std::vector<std::int64_t>{128, 8});
  const auto refused = [&](auto change, const std::string& why) {
    ModelSpec spec = good;
    change(spec);
    const absl::Status status = MakeModel(spec).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(status.message()), Catch::Contains(why));
  };
  refused([](ModelSpec& spec) { spec.tokens = false; }, "--data=tokens:FILE");
  refused([](ModelSpec& spec) { spec.name = "softmax"; }, "only gpt");
  refused([](ModelSpec& spec) { spec.width = 6; }, "sequences of 6 tokens; its context is 5");
  refused([](ModelSpec& spec) { spec.name += ",vocab=69"; }, "vocab 69; the data has 70 different tokens");
}

TEST_CASE("samples and classes that no model can have are refused") {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  const ModelSpec bad[] = {{"softmax", 0, 28, 28, 10},
                           {"softmax", 1, -1, 28, 10},
                           {"softmax", 1, 28, kHuge, 10},
                           {"softmax", kHuge, 4, 4, 10},
                           {"cnn", 1 << 20, 1 << 20, 1 << 20, 10},
                           {"softmax", 1, 28, 28, 1},
                           {"mlp", 1, 28, 28, kHuge},
                           {"cnn", 1, 3, 28, 10},
                           {"cnn", 1, 28, 3, 10},
                           {"mlp:1048576", 1, 4096, 4096, 2}};
  for (const ModelSpec& spec : bad) {
    const absl::Status status = MakeModel(spec).status();
    INFO(status.ToString());
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace leeway
