#include "server/payload.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/buffer_reader.h"
#include "kernels/encodings/encoding.h"
#include "kernels/finite.h"
#include "server/scratch.h"

namespace leeway {
namespace {

// F32 is looked at in pieces, not blocks: the copies of split payloads stay in the cache.
std::size_t FirstNonFiniteF32(const Buffer& payload) {
  const std::size_t count = payload.size() / sizeof(float);
  BufferReader reader(payload);
  for (std::size_t at = 0; at < count; at += kScratchPiece) {
    const std::size_t n = std::min(kScratchPiece, count - at);
    const std::size_t bad = FirstNonFinite(reader.TakeFloats(n, BlockScratch(ScratchPlace::kGradient)), n);
    if (bad < n) return at + bad;
  }
  return count;
}

}  // namespace

absl::Status CheckPayload(const Placement& placement, const v1::BlockRun& run, v1::Encoding encoding,
                          const Buffer& payload, const std::string& what) {
  const auto wrong = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, " of ", payload.size(), " bytes in encoding ", static_cast<int>(encoding), " (",
        v1::Encoding_Name(encoding), ") for ", run.num_blocks(), " blocks from block ", run.first_block(), ": ", why));
  };
  if (encoding == v1::F32) {  // the common case has nothing to look at but its size
    const std::uint64_t expected = placement.RunElements({run.first_block(), run.num_blocks()}) * sizeof(float);
    return payload.size() == expected ? absl::OkStatus() : wrong(absl::StrCat("these have ", expected, " bytes"));
  }
  std::size_t end = 0;
  for (std::uint32_t i = 0; i < run.num_blocks(); ++i) {
    const std::uint64_t block = run.first_block() + std::uint64_t{i} * placement.num_shards();
    const absl::StatusOr<std::size_t> next = CheckBlock(encoding, payload, end, placement.BlockSize(block));
    if (!next.ok()) return wrong(absl::StrCat("block ", block, ": ", std::string(next.status().message())));
    end = *next;
  }
  return payload.size() == end ? absl::OkStatus() : wrong(absl::StrCat("these end at byte ", end));
}

std::size_t FirstNonFiniteIn(const Placement& placement, const v1::BlockRun& run, v1::Encoding encoding,
                             const Buffer& payload) {
  if (encoding == v1::F32) return FirstNonFiniteF32(payload);
  float* floats = BlockScratch(ScratchPlace::kGradient);
  std::size_t at = 0, seen = 0;
  for (std::uint32_t i = 0; i < run.num_blocks(); ++i) {
    const std::size_t count = placement.BlockSize(run.first_block() + std::uint64_t{i} * placement.num_shards());
    at = DecodeBlock(encoding, payload, at, count, floats).value();
    const std::size_t bad = FirstNonFinite(floats, count);
    if (bad < count) return seen + bad;
    seen += count;
  }
  return seen;
}

}  // namespace leeway
