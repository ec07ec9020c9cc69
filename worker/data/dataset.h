// Dataset: labelled records of one shape for classification, wholly in memory.
//
// Image bytes are kept as bytes (a quarter of the memory) and normalised when they are gathered; features
// that a file gives as numbers are kept as float32 and gathered as they are. A text is kept as tokens of two bytes;
// its records are windows of it that follow one another, and each token's label is the token after it.
//
// Thread safety: immutable after construction; any number of threads may gather.
// Ownership: owns its records; move only, because a copy is never meant.
// Invariants: at least one record; all records have shape().elements() features (or tokens), every feature is finite
// after normalisation, every label (and token) is in [0, num_classes()).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace leeway {

enum class Split { kTrain, kTest };

// Features of one record, stored channel by channel, row by row. Plain vectors are 1 x 1 x width.
struct FeatureShape {
  std::uint32_t channels = 1;
  std::uint32_t height = 1;
  std::uint32_t width = 1;

  std::uint64_t elements() const { return std::uint64_t{channels} * height * width; }
  friend bool operator==(const FeatureShape&, const FeatureShape&) = default;
};

// A byte x becomes (x / 255 - mean) / stddev.
struct Normalization {
  float mean = 0;
  float stddev = 1;  // positive
};

// Mean and standard deviation of x / 255 over all of `bytes`; stddev is 1 where all bytes are the same.
Normalization ComputeNormalization(absl::Span<const std::uint8_t> bytes);

class Dataset {
 public:
  // `features` holds labels.size() records one after the other; `source` names the data in errors.
  // INVALID_ARGUMENT: no records, an empty shape, a features array that does not fit the labels, a label
  // outside [0, num_classes), a normalisation or a feature that is not finite.
  static absl::StatusOr<Dataset> FromBytes(const std::string& source, FeatureShape shape, std::uint32_t num_classes,
                                           std::vector<std::uint8_t> features, std::vector<std::int32_t> labels,
                                           Normalization normalization);
  static absl::StatusOr<Dataset> FromFloats(const std::string& source, FeatureShape shape, std::uint32_t num_classes,
                                            std::vector<float> features, std::vector<std::int32_t> labels);

  // Record i is tokens[i * context, (i + 1) * context); its labels are the tokens from i * context + 1 on. Tokens at
  // the end that make no whole window are left out. The shape is 1 x 1 x context. INVALID_ARGUMENT: fewer than context
  // + 1 tokens, a context of 0, a token outside [0, vocabulary), which is named by its place in `source`, where the
  // tokens are those from `first` on.
  static absl::StatusOr<Dataset> FromTokens(const std::string& source, std::uint32_t vocabulary, std::uint32_t context,
                                            std::vector<std::uint16_t> tokens, std::uint64_t first = 0);

  Dataset(Dataset&&) = default;
  Dataset& operator=(Dataset&&) = default;

  bool has_tokens() const { return !tokens_.empty(); }
  std::uint64_t num_records() const { return has_tokens() ? (tokens_.size() - 1) / shape_.width : labels_.size(); }
  const FeatureShape& shape() const { return shape_; }
  std::uint64_t features_per_record() const { return shape_.elements(); }
  std::uint32_t num_classes() const { return num_classes_; }
  std::uint64_t labels_per_record() const { return has_tokens() ? shape_.width : 1; }
  // Requires !has_tokens().
  std::int32_t label(std::uint64_t record) const { return labels_[record]; }

  // Of the normalised contents, labels, shape and number of classes: the same on every machine, different
  // for different data. Never 0.
  std::uint64_t fingerprint() const { return fingerprint_; }

  // Copies the records `indices` (each < num_records(), repeats allowed) in their order: their features to
  // features[indices.size() * features_per_record()], their labels to labels[indices.size()].
  // Requires !has_tokens().
  void Gather(absl::Span<const std::uint64_t> indices, float* features, std::int32_t* labels) const;
  // The same of a text: tokens and labels [indices.size() * labels_per_record()]. Requires has_tokens().
  void Gather(absl::Span<const std::uint64_t> indices, std::int32_t* tokens, std::int32_t* labels) const;

 private:
  Dataset() = default;
  absl::Status Check(const std::string& source, std::uint64_t features) const;
  void SetFingerprint(const void* features, std::uint64_t bytes);

  FeatureShape shape_;
  std::uint32_t num_classes_ = 0;
  std::vector<std::uint8_t> bytes_;       // either these
  std::array<float, 256> byte_values_{};  // the normalised value of each byte
  std::vector<float> floats_;             // or these
  std::vector<std::uint16_t> tokens_;     // or these, which need no labels
  std::vector<std::int32_t> labels_;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace leeway
