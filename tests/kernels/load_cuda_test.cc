// How the CUDA backend's shared object is found and opened, in each state in which a machine may have it. Stand-ins for
// it, which need no CUDA, are built beside this test.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "common/crc32c.h"
#include "kernels/cuda/cuda_plugin.h"
#include "kernels/cuda/load_cuda.h"
#include "kernels/device.h"
#include "tests/catch.h"

namespace leeway {
namespace {

// A library of tests/kernels/, as this test finds its data.
std::string Data(const std::string& name) { return std::filesystem::absolute("tests/kernels/" + name).string(); }

TEST_CASE("the shared object is looked for beside the program, in ../lib, and in a build tree, but nowhere else") {
  using Places = std::vector<std::string>;
  CHECK(CudaLibraryPlaces("/opt/leeway/bin/worker") ==
        Places{"/opt/leeway/bin/libleeway_cuda.so", "/opt/leeway/lib/libleeway_cuda.so"});
  // What lies in /tmp somebody else may have put there.
  CHECK(CudaLibraryPlaces("/tmp/x/worker") == Places{"/tmp/x/libleeway_cuda.so"});
  CHECK(CudaLibraryPlaces("/b/bazel-out/k8-opt/bin/tests/worker/models/gpt/gpt_test") ==
        Places{"/b/bazel-out/k8-opt/bin/tests/worker/models/gpt/libleeway_cuda.so",
               "/b/bazel-out/k8-opt/bin/kernels/cuda/libleeway_cuda.so"});
}

TEST_CASE("absent: one line says where it should be") {
  const absl::Status status = LoadCudaBackend({"/nowhere/bin/x.so", "/nowhere/lib/x.so"}, {}).status();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(std::string(status.message()) ==
        "there is no CUDA backend (libleeway_cuda.so) beside this program or in /nowhere/lib/x.so");
}

TEST_CASE("present, but a library that it needs is not: one line names that library") {
  const absl::Status status = LoadCudaBackend({"/nowhere/x.so", Data("libneeds_missing.so")}, {}).status();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(status.message()), Catch::Contains("are CUDA's libraries installed?") &&
                                                Catch::Contains("libleeway_missing.so: cannot open shared object") &&
                                                !Catch::Contains("\n"));
}

TEST_CASE("present, but cut off: refused, not mapped, which would be a SIGBUS") {
  const std::string path = std::string(getenv("TEST_TMPDIR")) + "/libcut_off.so";
  const auto whole = std::filesystem::file_size(Data("libno_driver.so"));
  for (const auto size : {whole / 2, whole - 1}) {
    std::filesystem::copy_file(Data("libno_driver.so"), path, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::permissions(path, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
    std::filesystem::resize_file(path, size);
    const absl::Status status = LoadCudaBackend({path}, {}).status();
    CHECK(status ==
          absl::UnavailableError(path + " is cut off: " + std::to_string(size) + " bytes of " + std::to_string(whole)));
  }
}

TEST_CASE("present, but of another build: refused, not called") {
  const absl::Status status = LoadCudaBackend({Data("libother_build.so")}, {}).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(status.message()), Catch::Contains("another build") && Catch::Contains(kCudaFactory));
}

TEST_CASE("the number in the factory's name changes with the headers that both sides must have alike") {
  std::string code;  // without comments and spaces
  for (const char* header : {"backend.h", "encoded_blocks.h", "ops.h", "transformer_ops.h", "vector_ops.h",
                             "cuda/cuda_plugin.h", "optimizers/adagrad.h", "optimizers/adam.h", "optimizers/ftrl.h",
                             "optimizers/momentum.h", "optimizers/rmsprop.h", "optimizers/sgd.h"}) {
    std::ifstream file(std::string("kernels/") + header);
    REQUIRE(file.good());
    for (std::string line; std::getline(file, line);) {
      const std::string words = line.substr(0, line.find("//"));
      std::copy_if(words.begin(), words.end(), std::back_inserter(code), [](char c) { return c != ' '; });
    }
  }
  INFO(
      "Raise the number in kCudaFactory and wherever else that name stands if a struct or a virtual function is "
      "another "
      "one now; then write the new checksum here.");
  CHECK(std::string(kCudaFactory) == "leeway_new_cuda_backend_2");
  CHECK(Crc32c(code.data(), code.size()) == 0xea4286e0);
}

TEST_CASE("present, but without a driver: its own words reach the caller") {
  const absl::Status status = LoadCudaBackend({Data("libno_driver.so")}, {7, false}).status();
  CHECK(status == absl::UnavailableError("no GPU 7: no driver"));
}

TEST_CASE("--device=cuda:N that cannot be used fails in one line; auto takes the CPU then") {
  const absl::StatusOr<std::unique_ptr<Backend>> named = MakeBackend("cuda:977", 1);
  REQUIRE_FALSE(named.ok());
  CHECK(named.status().code() == absl::StatusCode::kUnavailable);
  CHECK_THAT(std::string(named.status().message()), Catch::StartsWith("--device=cuda:977: ") && !Catch::Contains("\n"));
  const absl::StatusOr<std::unique_ptr<Backend>> chosen = MakeBackend("auto", 1);
  REQUIRE(chosen.ok());
  const bool has_gpu = MakeBackend("cuda:0", 1).ok();
  CHECK_THAT((*chosen)->description(), Catch::StartsWith(has_gpu ? "cuda:0 (" : "cpu ("));
}

}  // namespace
}  // namespace leeway
