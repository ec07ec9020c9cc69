#include "kernels/encodings/encoding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/buffer_reader.h"
#include "kernels/encodings/bf16.h"
#include "kernels/encodings/int8.h"
#include "kernels/encodings/top_k.h"

namespace leeway {
namespace {

constexpr std::size_t kWord = 4;      // bytes of a float32, a scale, a count, an index
constexpr std::size_t kPiece = 4096;  // values at a time: what has to be gathered stays in the cache
using Scratch = std::array<char, kPiece * kWord>;

template <typename T>
T TakeElement(BufferReader& reader) {
  T value;
  T scratch;
  std::memcpy(&value, reader.Take(sizeof value, &scratch), sizeof value);
  return value;
}

// Calls `decode(bytes, n, first)` for pieces of a block of `count` values of `width` bytes each.
template <typename Decode>
void ForEachPiece(BufferReader& reader, std::size_t count, std::size_t width, const Decode& decode) {
  Scratch scratch;
  for (std::size_t first = 0; first < count; first += kPiece) {
    const std::size_t n = std::min(kPiece, count - first);
    decode(reader.Take(n * width, scratch.data()), n, first);
  }
}

template <typename T>
T LoadElement(const char* bytes, std::size_t i) {
  T value;
  std::memcpy(&value, bytes + i * sizeof value, sizeof value);
  return value;
}

// The indices of a TOP_K block, before anything is written.
absl::Status CheckIndices(BufferReader reader, std::size_t kept, std::size_t count) {
  absl::Status status;
  std::uint64_t least = 0;  // that the next index may be
  ForEachPiece(reader, kept, kWord, [&](const char* bytes, std::size_t n, std::size_t first) {
    for (std::size_t i = 0; i < n && status.ok(); ++i) {
      const auto index = LoadElement<std::uint32_t>(bytes, i);
      if (index < least || index >= count) {
        status = absl::InvalidArgumentError(absl::StrCat("TOP_K: index ", index, " at place ", first + i,
                                                         " of a block of ", count, " values; allowed there are ", least,
                                                         " to ", count, " without it"));
      }
      least = std::uint64_t{index} + 1;
    }
  });
  return status;
}

struct Head {
  std::size_t bytes = 0;  // of the whole block
  std::size_t kept = 0;   // TOP_K
};

// Checks that the block is all there.
absl::StatusOr<Head> ReadHead(v1::Encoding encoding, const Buffer& payload, std::size_t at, std::size_t count) {
  Head head;
  if (!v1::Encoding_IsValid(encoding)) {
    return absl::InvalidArgumentError(absl::StrCat("encoding ", static_cast<int>(encoding), " is none"));
  }
  const std::size_t left = at < payload.size() ? payload.size() - at : 0;
  if (encoding == v1::TOP_K && left >= kWord) {
    BufferReader reader(payload, at);
    head.kept = TakeElement<std::uint32_t>(reader);
    if (head.kept > count) {
      return absl::InvalidArgumentError(
          absl::StrCat("TOP_K: ", head.kept, " values of a block of ", count, ", at byte ", at));
    }
  }
  head.bytes = EncodedBytes(encoding, count, head.kept);
  if (at <= payload.size() && head.bytes <= left) return head;
  return absl::InvalidArgumentError(absl::StrCat("payload of ", payload.size(), " bytes ends within the block of ",
                                                 count, " values in encoding ", v1::Encoding_Name(encoding),
                                                 " that begins at byte ", at));
}

// What is done with a decoded block: stored, or added.
struct Set {
  static void F32(const char* bytes, std::size_t count, float* out) { std::memcpy(out, bytes, count * kWord); }
  static constexpr auto Bf16 = DecodeBf16;
  static constexpr auto Int8 = DecodeInt8;
  static void Prepare(float* out, std::size_t count) { std::fill_n(out, count, 0.0f); }
  static void One(float value, float& out) { out = value; }
};
struct Add {
  static void F32(const char* bytes, std::size_t count, float* out) {
    for (std::size_t i = 0; i < count; ++i) out[i] += LoadElement<float>(bytes, i);
  }
  static constexpr auto Bf16 = DecodeAddBf16;
  static constexpr auto Int8 = DecodeAddInt8;
  static void Prepare(float*, std::size_t) {}
  static void One(float value, float& out) { out += value; }
};

template <typename Action>
absl::StatusOr<std::size_t> Decode(v1::Encoding encoding, const Buffer& payload, std::size_t at, std::size_t count,
                                   float* out) {
  absl::StatusOr<Head> head = ReadHead(encoding, payload, at, count);
  if (!head.ok()) return head.status();
  BufferReader reader(payload, at);
  switch (encoding) {
    case v1::BF16:
      ForEachPiece(reader, count, 2,
                   [&](const char* bytes, std::size_t n, std::size_t first) { Action::Bf16(bytes, n, out + first); });
      break;
    case v1::INT8: {
      const auto scale = TakeElement<float>(reader);
      ForEachPiece(reader, count, 1, [&](const char* bytes, std::size_t n, std::size_t first) {
        Action::Int8(bytes, n, scale, out + first);
      });
      break;
    }
    case v1::TOP_K: {
      Scratch scratch;
      reader.Take(kWord, scratch.data());
      absl::Status indices_ok = CheckIndices(reader, head->kept, count);
      if (!indices_ok.ok()) return indices_ok;
      Action::Prepare(out, count);
      BufferReader values(payload, at + kWord + head->kept * kWord);
      ForEachPiece(reader, head->kept, kWord, [&](const char* indices, std::size_t n, std::size_t) {
        const char* bytes = values.Take(n * kWord, scratch.data());
        for (std::size_t i = 0; i < n; ++i) {
          Action::One(LoadElement<float>(bytes, i), out[LoadElement<std::uint32_t>(indices, i)]);
        }
      });
      break;
    }
    default:
      ForEachPiece(reader, count, kWord,
                   [&](const char* bytes, std::size_t n, std::size_t first) { Action::F32(bytes, n, out + first); });
  }
  return at + head->bytes;
}

}  // namespace

std::size_t TopKCount(double fraction, std::size_t count) {
  const double kept = std::ceil(fraction * static_cast<double>(count));
  return std::clamp<std::size_t>(static_cast<std::size_t>(kept), 1, count);
}

std::size_t EncodedBytes(v1::Encoding encoding, std::size_t count, std::size_t kept) {
  switch (encoding) {
    case v1::BF16:
      return 2 * count;
    case v1::INT8:
      return kWord + count;
    case v1::TOP_K:
      return kWord + 2 * kWord * kept;
    default:
      return kWord * count;
  }
}

char* EncodeBlock(v1::Encoding encoding, const float* values, std::size_t count, std::size_t kept, char* out,
                  float* residual) {
  // With a residual, work on it in place: each encoding takes off it what it has written.
  if (residual != nullptr && residual != values) std::copy_n(values, count, residual);
  switch (encoding) {
    case v1::BF16:
      residual != nullptr ? EncodeBf16Residual(residual, count, out) : EncodeBf16(values, count, out);
      break;
    case v1::INT8: {
      const float scale = Int8Scale(values, count);
      std::memcpy(out, &scale, kWord);
      residual != nullptr ? EncodeInt8Residual(residual, count, scale, out + kWord)
                          : EncodeInt8(values, count, scale, out + kWord);
      break;
    }
    case v1::TOP_K: {
      const auto n = static_cast<std::uint32_t>(kept);
      std::memcpy(out, &n, kWord);
      char* const indices = out + kWord;
      SelectTopK(values, count, kept, indices, indices + kept * kWord);
      for (std::size_t i = 0; residual != nullptr && i < kept; ++i) {
        residual[LoadElement<std::uint32_t>(indices, i)] = 0;
      }
      break;
    }
    default:
      std::memcpy(out, values, count * kWord);
      if (residual != nullptr) std::fill_n(residual, count, 0.0f);
  }
  return out + EncodedBytes(encoding, count, kept);
}

absl::StatusOr<std::size_t> CheckBlock(v1::Encoding encoding, const Buffer& payload, std::size_t at,
                                       std::size_t count) {
  absl::StatusOr<Head> head = ReadHead(encoding, payload, at, count);
  if (!head.ok()) return head.status();
  if (encoding == v1::TOP_K) {
    absl::Status indices_ok = CheckIndices(BufferReader(payload, at + kWord), head->kept, count);
    if (!indices_ok.ok()) return indices_ok;
  }
  return at + head->bytes;
}

absl::StatusOr<std::size_t> DecodeBlock(v1::Encoding encoding, const Buffer& payload, std::size_t at, std::size_t count,
                                        float* out) {
  return Decode<Set>(encoding, payload, at, count, out);
}

absl::StatusOr<std::size_t> DecodeAddBlock(v1::Encoding encoding, const Buffer& payload, std::size_t at,
                                           std::size_t count, float* out) {
  return Decode<Add>(encoding, payload, at, count, out);
}

}  // namespace leeway
