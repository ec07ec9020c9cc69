#include "kernels/device.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "kernels/cpu/cpu_backend.h"

namespace leeway {
namespace {

constexpr char kCudaPrefix[] = "cuda:";

bool IsCudaDevice(const std::string& device) {
  int number = 0;
  return absl::StartsWith(device, kCudaPrefix) && absl::SimpleAtoi(device.substr(sizeof(kCudaPrefix) - 1), &number) &&
         number >= 0;
}

}  // namespace

absl::Status CheckDevice(const std::string& device) {
  if (device == "auto" || device == "cpu") return absl::OkStatus();
  if (IsCudaDevice(device)) {
    return absl::UnimplementedError(absl::StrCat("--device=", device, ": this build has no CUDA backend"));
  }
  return absl::InvalidArgumentError(absl::StrCat("--device=", device, ": allowed are auto, cpu and cuda:N"));
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const std::string& device, int threads) {
  RETURN_IF_ERROR(CheckDevice(device));
  return MakeCpuBackend(threads);
}

}  // namespace leeway
