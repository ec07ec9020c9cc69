#include "kernels/cuda/load_cuda.h"

#include <dlfcn.h>
#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace leeway {
namespace {

// How many bytes the ELF file at `path` has: to the end of its section headers and of each segment. 0: it is no such
// file, which dlopen says better.
std::uint64_t ElfBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr header{};
  if (!file.read(reinterpret_cast<char*>(&header), sizeof(header)) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64) {
    return 0;
  }
  std::uint64_t end = header.e_shoff + std::uint64_t{header.e_shnum} * header.e_shentsize;
  file.seekg(static_cast<std::streamoff>(header.e_phoff));
  Elf64_Phdr segment{};
  for (int i = 0; i < header.e_phnum && file.read(reinterpret_cast<char*>(&segment), sizeof(segment)); ++i) {
    end = std::max<std::uint64_t>(end, segment.p_offset + segment.p_filesz);
  }
  return end;
}

}  // namespace

std::vector<std::string> CudaLibraryPlaces(const std::string& program) {
  const std::filesystem::path folder = std::filesystem::path(program).parent_path();
  std::vector<std::string> places{folder / kCudaLibrary};
  // No other folder above: it may be one that everybody can write to, as /tmp is.
  if (folder.filename() == "bin") places.push_back(folder.parent_path() / "lib" / kCudaLibrary);
  // bazel-out/CONFIG/bin/worker/worker, and bazel-out/CONFIG/bin/kernels/cuda/.
  for (std::filesystem::path above = folder; above.has_relative_path(); above = above.parent_path()) {
    const bool built = above.filename() == "bin" && above.parent_path().parent_path().filename() == "bazel-out";
    if (built) places.push_back(above / "kernels" / "cuda" / kCudaLibrary);
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
    return absl::UnavailableError(absl::StrCat("there is no CUDA backend (", kCudaLibrary, ") beside this program",
                                               places.size() > 1 ? absl::StrCat(" or in ", places[1]) : ""));
  }
  // Cut off it would be mapped all the same, and end this process by SIGBUS.
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(library, error), whole = ElfBytes(library);
  if (!error && size < whole) {
    return absl::UnavailableError(absl::StrCat(library, " is cut off: ", size, " bytes of ", whole));
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
