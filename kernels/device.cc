#include "kernels/device.h"

#include <filesystem>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/load_cuda.h"
#include "spdlog/spdlog.h"

namespace leeway {
namespace {

constexpr char kCudaPrefix[] = "cuda:";

// The number of "cuda:N"; -1 for any other name.
int CudaDevice(const std::string& device) {
  int number = -1;
  if (!absl::StartsWith(device, kCudaPrefix)) return -1;
  return absl::SimpleAtoi(device.substr(sizeof(kCudaPrefix) - 1), &number) && number >= 0 ? number : -1;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaOptions& options) {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::UnavailableError(absl::StrCat("/proc/self/exe: ", error.message()));
  return LoadCudaBackend(CudaLibraryPlaces(program), options);
}

}  // namespace

absl::Status CheckDevice(const std::string& device) {
  if (device == "auto" || device == "cpu" || CudaDevice(device) >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--device=", device, ": allowed are auto, cpu and cuda:N"));
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const std::string& device, int threads, bool tf32) {
  RETURN_IF_ERROR(CheckDevice(device));
  if (device == "cpu") return MakeCpuBackend(threads);
  const bool choose = device == "auto";
  absl::StatusOr<std::unique_ptr<Backend>> cuda = MakeCudaBackend({choose ? 0 : CudaDevice(device), tf32});
  if (cuda.ok()) return cuda;
  const std::string reason(cuda.status().message());
  if (!choose) return absl::Status(cuda.status().code(), absl::StrCat("--device=", device, ": ", reason));
  spdlog::info("--device=auto: the CPU computes{}: {}", tf32 ? ", without --tf32" : "", reason);
  return MakeCpuBackend(threads);
}

}  // namespace leeway
