#include "tests/gpu/parity.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/encodings/bf16.h"

namespace leeway {
namespace {

constexpr std::size_t kGuard = 32;        // bytes before and behind an array
constexpr unsigned char kGarbage = 0x42;  // 48.56 as float32, 48.5 as bfloat16

float FromBf16(std::uint16_t half) {
  float value = 0;
  DecodeBf16(reinterpret_cast<const char*>(&half), 1, &value);
  return value;
}
std::uint16_t ToBf16(float value) {
  std::uint16_t half = 0;
  EncodeBf16(&value, 1, reinterpret_cast<char*>(&half));
  return half;
}

}  // namespace

Doubles Magnitudes(const Doubles& values) {
  Doubles magnitudes(values);
  for (double& value : magnitudes) value = std::abs(value);
  return magnitudes;
}

Parity::Parity(Backend& backend, const Options& options) : backend_(backend), options_(options) {
  absl::StatusOr<std::unique_ptr<Stream>> stream = backend_.NewStream();
  if (!stream.ok()) {
    Fail(stream.status().ToString());
    return;
  }
  stream_ = std::move(stream).value();
}

void Parity::RunAll() {
  if (stream_ == nullptr) return;
  for (const ParityGroup& group : kParityGroups) group.run(*this);
}

absl::Status Parity::RunGroup(absl::string_view name) {
  std::string names;
  for (const ParityGroup& group : kParityGroups) {
    if (name == group.name) {
      if (stream_ != nullptr) group.run(*this);
      return absl::OkStatus();
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", group.name);
  }
  return absl::InvalidArgumentError(absl::StrCat("'", name, "' is no group of cases; there are ", names));
}

std::vector<DataType> Parity::types() const {
  // A backend with bfloat16 takes both.
  if (backend_.transformer_ops().data_type() == DataType::kBf16) return {DataType::kF32, DataType::kBf16};
  return {DataType::kF32};
}

void Parity::Run(const std::string& name, bool shifted, const std::function<void()>& body) {
  rows_.push_back({.name = absl::StrCat(name, shifted ? " shifted" : ""), .failure = ""});
  shifted_ = shifted;
  first_.clear();
  for (const bool second : {false, true}) {
    if (second && options_.once) return;
    second_ = second;
    outputs_ = 0;
    body();
    if (const absl::Status status = stream_->Synchronize(); !status.ok()) Fail(status.ToString());
    if (!rows_.back().failure.empty()) return;
  }
}

Array Parity::Random(std::int64_t count, std::uint32_t seed, DataType type, double spread, double center) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(-spread, spread);
  Doubles values(static_cast<std::size_t>(count));
  for (double& value : values) value = center + uniform(generator);
  return Of(values, type);
}

Array Parity::Of(const Doubles& values, DataType type) {
  Array array = Garbage(static_cast<std::int64_t>(values.size()), type);
  std::vector<char> bytes(values.size() * SizeOf(type));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<float>(values[i]);
    if (type == DataType::kF32) {
      array.values.push_back(value);
      std::memcpy(&bytes[4 * i], &value, 4);
    } else {
      const std::uint16_t half = ToBf16(value);
      array.values.push_back(FromBf16(half));
      std::memcpy(&bytes[2 * i], &half, 2);
    }
  }
  backend_.CopyToDevice(*stream_, DevicePtr<void>(array.at()), bytes.data(), bytes.size());
  if (const absl::Status status = stream_->Synchronize(); !status.ok()) Fail(status.ToString());
  return array;
}

Array Parity::Garbage(std::int64_t count, DataType type) {
  Array array;
  array.type = type;
  array.count = count;
  array.offset = kGuard + (shifted_ ? SizeOf(type) : 0);
  const std::vector<unsigned char> bytes(array.offset + static_cast<std::size_t>(count) * SizeOf(type) + kGuard,
                                         kGarbage);
  array.memory = UploadBytes(bytes.data(), bytes.size());
  return array;
}

DeviceMemory Parity::UploadBytes(const void* data, std::size_t bytes) {
  absl::StatusOr<DeviceMemory> memory = backend_.Allocate(bytes);
  if (!memory.ok()) {
    Fail(memory.status().ToString());
    return {};
  }
  backend_.CopyToDevice(*stream_, memory->as<void>(), data, bytes);
  if (const absl::Status status = stream_->Synchronize(); !status.ok()) Fail(status.ToString());
  return std::move(memory).value();
}

void Parity::DownloadBytes(DevicePtr<const void> from, void* to, std::size_t bytes) {
  backend_.CopyToHost(*stream_, to, from, bytes);
  if (const absl::Status status = stream_->Synchronize(); !status.ok()) Fail(status.ToString());
}

// What the array holds now; also checks what lies around it, and that the second run gives the first one's bits.
Doubles Parity::Values(const Array& array) {
  std::vector<char> bytes(array.memory.bytes());
  DownloadBytes(array.memory.as<const void>(), bytes.data(), bytes.size());
  const std::size_t size = static_cast<std::size_t>(array.count) * SizeOf(array.type), end = array.offset + size;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if ((i < array.offset || i >= end) && static_cast<unsigned char>(bytes[i]) != kGarbage) {
      Fail(
          absl::StrCat("wrote outside of an output: byte ", static_cast<std::int64_t>(i - array.offset), " of ", size));
      break;
    }
  }
  RequireBits(&bytes[array.offset], size);
  Doubles values;
  for (std::int64_t i = 0; i < array.count; ++i) {
    const char* const at = &bytes[array.offset + static_cast<std::size_t>(i) * SizeOf(array.type)];
    float value = 0;
    if (array.type == DataType::kF32) {
      std::memcpy(&value, at, 4);
    } else {
      DecodeBf16(at, 1, &value);
    }
    values.push_back(value);
  }
  return values;
}

void Parity::RequireBits(const void* data, std::size_t bytes) {
  const auto* const chars = static_cast<const char*>(data);
  if (!second_) {
    first_.emplace_back(chars, chars + bytes);
  } else if (outputs_ >= first_.size() || first_[outputs_].size() != bytes ||
             std::memcmp(first_[outputs_].data(), chars, bytes) != 0) {
    Fail("the second run gave other bits than the first");
  }
  ++outputs_;
}

void Parity::Expect(const Array& actual, const Doubles& expected, const Doubles& magnitude,
                    const Tolerance& tolerance) {
  const Doubles values = Values(actual);
  if (values.size() != expected.size() || magnitude.size() != expected.size()) {
    Fail(absl::StrCat(values.size(), " elements, expected ", expected.size(), ", magnitudes ", magnitude.size()));
    return;
  }
  const bool bf16 = actual.type == DataType::kBf16;
  // Roundings of the sums of products (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); of TF32's
  // inputs; of bfloat16 on the way. The last rounding is of the result itself.
  const double relative = static_cast<double>(tolerance.length + 4) * 0x1p-24 +
                          (options_.tf32 && tolerance.product ? 0x1p-9 : 0.0) +
                          (bf16 ? tolerance.inner_roundings * 0x1p-8 : 0.0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(values[i])) continue;
    const double allowed = relative * magnitude[i] + (bf16 ? 0x1p-8 * std::abs(expected[i]) : 0.0) + 1e-37;
    const double off = std::abs(values[i] - expected[i]);
    // Not `off > allowed`: with a NaN on one side that would be false.
    if (!(off <= allowed)) {
      Fail(absl::StrCat("element ", i, " of ", values.size(), ": ", values[i], ", expected ", expected[i], " within ",
                        allowed));
      return;
    }
    rows_.back().worst = std::max(rows_.back().worst, off / allowed);
  }
}

void Parity::ExpectExact(const Array& actual, const Doubles& expected) {
  const Doubles values = Values(actual);
  Require(values.size() == expected.size(), "the number of elements");
  for (std::size_t i = 0; i < std::min(values.size(), expected.size()); ++i) {
    if (values[i] == expected[i] || (std::isnan(values[i]) && std::isnan(expected[i]))) continue;
    Fail(absl::StrCat("element ", i, " of ", values.size(), ": ", values[i], ", expected exactly ", expected[i]));
    return;
  }
}

void Parity::Require(bool condition, const std::string& what) {
  if (!condition) Fail(what);
}

void Parity::Fail(const std::string& what) {
  if (rows_.empty()) rows_.push_back({.name = "start", .failure = ""});
  if (rows_.back().failure.empty()) rows_.back().failure = what;
}

}  // namespace leeway
