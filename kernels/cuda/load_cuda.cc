#include "kernels/cuda/load_cuda.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace leeway {

std::vector<std::string> CudaLibraryPlaces(const std::string& program) {
  const std::filesystem::path folder = std::filesystem::path(program).parent_path();
  std::vector<std::string> places{folder / kCudaLibrary, folder.parent_path() / "lib" / kCudaLibrary};
  // bazel-bin/worker/worker and bazel-bin/kernels/cuda/: at most as deep as tests are.
  constexpr int kDepth = 4;
  std::filesystem::path above = folder;
  for (int i = 0; i < kDepth && above.has_relative_path(); ++i) {
    above = above.parent_path();
    places.push_back(above / "kernels" / "cuda" / kCudaLibrary);
  }
  return places;
}

absl::StatusOr<std::unique_ptr<Backend>> LoadCudaBackend(const std::vector<std::string>& places,
                                                         const CudaOptions& options) {
  std::string library;
  for (const std::string& place : places) {
    std::error_code error;
    if (!std::filesystem::exists(place, error)) continue;
    library = place;
    break;
  }
  if (library.empty()) {
    return absl::UnavailableError(absl::StrCat("there is no CUDA backend (", kCudaLibrary,
                                               ") beside this program or in ",
                                               places.size() > 1 ? places[1] : "its folder"));
  }
  // Never closed: it holds the code of the Backend. LOCAL: its copies of our own functions stay its own.
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("the CUDA backend cannot be loaded, are CUDA's libraries installed? ", std::string(dlerror())));
  }
  auto* const factory = reinterpret_cast<CudaFactory*>(dlsym(handle, kCudaFactory));
  if (factory == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(library, " is of another build than this program: it has no ", kCudaFactory));
  }
  absl::StatusOr<std::unique_ptr<Backend>> backend = absl::UnknownError("the CUDA backend's factory gave no answer");
  factory(options, &backend);
  return backend;
}

}  // namespace leeway
