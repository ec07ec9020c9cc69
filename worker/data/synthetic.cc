#include "worker/data/synthetic.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::uint64_t kMaxRecords = 10'000'000;  // 7.84 GB
constexpr int kClasses = 10;
constexpr int kSide = 28;
constexpr int kPixels = kSide * kSide;
constexpr int kBlobs = 4;
constexpr int kMargin = 2;  // how far a picture is moved at most

using Picture = std::array<float, kPixels>;  // 0 to 255

// Blobs fall off as (1 - d^2 / r^2)^2: no function of the C library whose last bit differs between machines.
Picture MakePicture(std::uint64_t seed) {
  Picture picture{};
  for (int blob = 0; blob < kBlobs; ++blob) {
    const auto uniform = [&](std::uint64_t what) {
      return UnitUniform(HashCombine(seed, static_cast<std::uint64_t>(blob) * 3 + what));
    };
    const double y = 5 + 18 * uniform(0);
    const double x = 5 + 18 * uniform(1);
    const double radius = 4 + 5 * uniform(2);
    for (int i = 0; i < kPixels; ++i) {
      const double dy = i / kSide - y;
      const double dx = i % kSide - x;
      const double near = std::max(0.0, 1 - (dy * dy + dx * dx) / (radius * radius));
      picture[i] = static_cast<float>(std::min(255.0, picture[i] + 200 * near * near));
    }
  }
  return picture;
}

void DrawRecord(const Picture& picture, std::uint64_t seed, std::uint8_t* out) {
  const std::uint64_t bits = Mix64(seed);
  const int down = static_cast<int>(bits % (2 * kMargin + 1)) - kMargin;
  const int right = static_cast<int>((bits >> 8) % (2 * kMargin + 1)) - kMargin;
  const double brightness = 0.5 + 0.5 * UnitUniform(HashCombine(seed, 1));
  std::uint64_t noise = HashCombine(seed, 2);
  for (int i = 0; i < kPixels; ++i) {
    const int y = i / kSide - down;
    const int x = i % kSide - right;
    const bool inside = y >= 0 && y < kSide && x >= 0 && x < kSide;
    if (i % 8 == 0) noise = Mix64(noise);
    const double noisy =
        (inside ? brightness * picture[y * kSide + x] : 0) + static_cast<double>((noise >> (i % 8 * 8)) & 127) - 64;
    out[i] = static_cast<std::uint8_t>(std::clamp(noisy, 0.0, 255.0));
  }
}

}  // namespace

absl::Status CheckSyntheticRecords(std::uint64_t records) {
  if (records >= 1 && records <= kMaxRecords) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("synthetic data: ", records, " records; allowed are 1 to ", kMaxRecords));
}

absl::StatusOr<Dataset> MakeSynthetic(std::uint64_t records, std::uint64_t seed, Split split) {
  RETURN_IF_ERROR(CheckSyntheticRecords(records));
  std::array<Picture, kClasses> pictures;
  for (int i = 0; i < kClasses; ++i) pictures[i] = MakePicture(HashCombine(seed, i));
  const std::uint64_t split_seed = HashCombine(seed, split == Split::kTrain ? 1000 : 1001);
  std::vector<std::uint8_t> features(records * kPixels);
  std::vector<std::int32_t> labels(records);
  for (std::uint64_t i = 0; i < records; ++i) {
    const std::uint64_t record_seed = HashCombine(split_seed, i);
    // By hash, not i mod 10: a static partition (i mod N) must not be missing classes.
    labels[i] = static_cast<std::int32_t>(Mix64(record_seed ^ 7) % kClasses);
    DrawRecord(pictures[labels[i]], record_seed, features.data() + i * kPixels);
  }
  // Fixed, so that both splits are treated alike: about what these pictures have.
  constexpr Normalization kNormalization{0.2f, 0.22f};
  return Dataset::FromBytes("synthetic data", {1, kSide, kSide}, kClasses, std::move(features), std::move(labels),
                            kNormalization);
}

}  // namespace leeway
