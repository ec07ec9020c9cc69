#include "worker/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::uint32_t kMaxDimension = 1 << 20;  // so that a product of three cannot overflow

}  // namespace

Normalization ComputeNormalization(absl::Span<const std::uint8_t> bytes) {
  std::array<std::uint64_t, 256> counts{};
  for (std::uint8_t byte : bytes) ++counts[byte];
  double sum = 0, sum_of_squares = 0;
  for (std::size_t value = 0; value < counts.size(); ++value) {
    const double x = static_cast<double>(value) / 255;
    sum += x * static_cast<double>(counts[value]);
    sum_of_squares += x * x * static_cast<double>(counts[value]);
  }
  const double n = static_cast<double>(std::max<std::size_t>(bytes.size(), 1));
  const double mean = sum / n;
  const double variance = sum_of_squares / n - mean * mean;
  // Different bytes differ by at least 1/255; what is far below that is rounding of a variance of 0.
  const double stddev = variance > 1e-12 ? std::sqrt(variance) : 1;
  return {static_cast<float>(mean), static_cast<float>(stddev)};
}

absl::Status Dataset::Check(const std::string& source, std::uint64_t features) const {
  if (labels_.empty()) return absl::InvalidArgumentError(absl::StrCat(source, ": there is no record"));
  if (num_classes_ == 0) return absl::InvalidArgumentError(absl::StrCat(source, ": there is no class"));
  const std::uint32_t largest = std::max({shape_.channels, shape_.height, shape_.width});
  if (largest > kMaxDimension) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": a dimension of the records is ", largest, "; at most ", kMaxDimension, " is allowed"));
  }
  const std::uint64_t per_record = shape_.elements();
  if (per_record == 0 || features % per_record != 0 || features / per_record != labels_.size()) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": ", features, " features do not make ", labels_.size(),
                                                   " records of ", shape_.channels, " x ", shape_.height, " x ",
                                                   shape_.width));
  }
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    if (labels_[i] < 0 || static_cast<std::uint32_t>(labels_[i]) >= num_classes_) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ": record ", i, " has the label ", labels_[i], "; allowed are 0 to ", num_classes_ - 1));
    }
  }
  return absl::OkStatus();
}

void Dataset::SetFingerprint(const void* features, std::uint64_t bytes) {
  std::uint64_t hash = HashString("leeway dataset");
  for (std::uint64_t size : {std::uint64_t{shape_.channels}, std::uint64_t{shape_.height}, std::uint64_t{shape_.width},
                             std::uint64_t{num_classes_}, num_records()}) {
    hash = HashCombine(hash, size);
  }
  hash = HashBytes(byte_values_.data(), sizeof(byte_values_), hash);
  hash = HashBytes(features, bytes, hash);
  hash = HashBytes(labels_.data(), labels_.size() * sizeof(labels_[0]), hash);
  fingerprint_ = hash != 0 ? hash : 1;
}

absl::StatusOr<Dataset> Dataset::FromBytes(const std::string& source, FeatureShape shape, std::uint32_t num_classes,
                                           std::vector<std::uint8_t> features, std::vector<std::int32_t> labels,
                                           Normalization normalization) {
  if (!std::isfinite(normalization.mean) || !std::isfinite(normalization.stddev) || normalization.stddev <= 0) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": normalisation by mean ", normalization.mean,
                                                   " and standard deviation ", normalization.stddev,
                                                   "; both must be finite, the deviation positive"));
  }
  Dataset data;
  data.shape_ = shape;
  data.num_classes_ = num_classes;
  data.bytes_ = std::move(features);
  data.labels_ = std::move(labels);
  RETURN_IF_ERROR(data.Check(source, data.bytes_.size()));
  for (std::size_t value = 0; value < data.byte_values_.size(); ++value) {
    data.byte_values_[value] =
        static_cast<float>((static_cast<double>(value) / 255 - normalization.mean) / normalization.stddev);
    if (!std::isfinite(data.byte_values_[value])) {
      return absl::InvalidArgumentError(absl::StrCat(source, ": the standard deviation ", normalization.stddev,
                                                     " is so small that normalised values overflow"));
    }
  }
  data.SetFingerprint(data.bytes_.data(), data.bytes_.size());
  return data;
}

absl::StatusOr<Dataset> Dataset::FromFloats(const std::string& source, FeatureShape shape, std::uint32_t num_classes,
                                            std::vector<float> features, std::vector<std::int32_t> labels) {
  Dataset data;
  data.shape_ = shape;
  data.num_classes_ = num_classes;
  data.floats_ = std::move(features);
  data.labels_ = std::move(labels);
  RETURN_IF_ERROR(data.Check(source, data.floats_.size()));
  for (std::size_t i = 0; i < data.floats_.size(); ++i) {
    if (!std::isfinite(data.floats_[i])) {
      const std::uint64_t per_record = shape.elements();
      return absl::InvalidArgumentError(absl::StrCat(source, ": record ", i / per_record, ", feature ", i % per_record,
                                                     " is ", data.floats_[i], "; features must be finite"));
    }
  }
  data.SetFingerprint(data.floats_.data(), data.floats_.size() * sizeof(float));
  return data;
}

absl::StatusOr<Dataset> Dataset::FromTokens(const std::string& source, std::uint32_t vocabulary, std::uint32_t context,
                                            std::vector<std::uint16_t> tokens, std::uint64_t first) {
  if (context == 0 || context > kMaxDimension) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": windows of ", context, " tokens; allowed are 1 to ", kMaxDimension));
  }
  if (tokens.size() <= context) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": ", tokens.size(), " tokens; a window of ", context,
                                                   " and the token after it need ", context + 1));
  }
  const auto bad =
      std::find_if(tokens.begin(), tokens.end(), [vocabulary](std::uint16_t token) { return token >= vocabulary; });
  if (bad != tokens.end()) {
    const std::uint64_t place = first + static_cast<std::uint64_t>(bad - tokens.begin());
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": token ", place, " is ", *bad, "; a vocabulary of ", vocabulary, " ends before it"));
  }
  Dataset data;
  data.shape_ = {1, 1, context};
  data.num_classes_ = vocabulary;
  data.tokens_ = std::move(tokens);
  data.SetFingerprint(data.tokens_.data(), data.tokens_.size() * sizeof(data.tokens_[0]));
  return data;
}

void Dataset::Gather(absl::Span<const std::uint64_t> indices, std::int32_t* tokens, std::int32_t* labels) const {
  for (std::uint64_t index : indices) {
    const std::uint16_t* const window = tokens_.data() + index * shape_.width;
    tokens = std::copy_n(window, shape_.width, tokens);
    labels = std::copy_n(window + 1, shape_.width, labels);
  }
}

void Dataset::Gather(absl::Span<const std::uint64_t> indices, float* features, std::int32_t* labels) const {
  const std::uint64_t per_record = features_per_record();
  for (std::uint64_t index : indices) {
    if (bytes_.empty()) {
      std::memcpy(features, floats_.data() + index * per_record, per_record * sizeof(float));
    } else {
      const std::uint8_t* record = bytes_.data() + index * per_record;
      for (std::uint64_t i = 0; i < per_record; ++i) features[i] = byte_values_[record[i]];
    }
    features += per_record;
    *labels++ = labels_[index];
  }
}

}  // namespace leeway
