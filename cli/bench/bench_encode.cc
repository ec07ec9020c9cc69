#include "cli/bench/bench_encode.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/bench/aligned_floats.h"
#include "cli/bench/axpy.h"
#include "common/placement.h"
#include "common/status_macros.h"
#include "kernels/encodings/encoding.h"

namespace leeway {
namespace {

constexpr double kFraction = 0.01;  // of TOP_K
constexpr std::size_t kBlock = Placement::kMaxBlock;

struct Kind {
  const char* name;
  v1::Encoding encoding;
};
constexpr Kind kKinds[] = {{"bf16", v1::BF16}, {"int8", v1::INT8}, {"top_k", v1::TOP_K}};

class EncodeBench {
 public:
  explicit EncodeBench(std::uint64_t elements) : values_(elements, 0), out_(elements, 0), residual_(elements, 0) {
    // A gradient's values are of many magnitudes; where the greatest lie decides how fast top-k is.
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 1e-3f);
    std::generate_n(values_.data(), values_.size(), [&] { return normal(random); });
  }

  absl::StatusOr<std::vector<BenchRow>> Run(const Turns& turns) {
    Add("memcpy", [this] {
      std::memcpy(out_.data(), values_.data(), values_.size() * sizeof(float));
      return absl::OkStatus();
    });
    Add("axpy", [this] {
      Axpy(1e-6f, values_.data(), values_.size(), out_.data());
      return absl::OkStatus();
    });
    for (const Kind& kind : kKinds) Add(kind);
    ASSIGN_OR_RETURN(const Measured measured, MeasureInTurns(subjects_, turns));
    std::vector<BenchRow> rows;
    const auto add = [&](const std::string& name, const std::string& baseline, const std::string& what) {
      const std::string full = "encode." + name;
      if (measured.Has(full)) rows.push_back(measured.Speed(full, baseline, 0, what));
    };
    add("memcpy", "", "the values copied");
    add("axpy", "", "the values times a factor added to others");
    for (const Kind& kind : kKinds) {
      const std::string name(kind.name);
      add(name + ".encode", "encode.memcpy", BytesText(kind));
      add(name + ".encode_residual", "encode.memcpy", "encoded, and what the encoding left out is kept");
      add(name + ".decode", "encode.memcpy", "decoded");
      add(name + ".decode_add", "encode.axpy", "decoded and added to others");
    }
    return rows;
  }

 private:
  void Add(const std::string& name, std::function<absl::Status()> run) {
    subjects_.push_back({"encode." + name,
                         [this, run = std::move(run)]() -> absl::StatusOr<double> {
                           RETURN_IF_ERROR(run());
                           return static_cast<double>(values_.size()) * sizeof(float);
                         },
                         {}});
  }

  void Add(const Kind& kind) {
    const auto encoded = std::make_shared<std::string>(EncodedSize(kind.encoding), '\0');
    Encode(kind.encoding, encoded.get(), nullptr);
    const Buffer payload = Buffer::Wrap(encoded, encoded->data(), encoded->size());
    // Into memory of its own: the payload is shared.
    const auto room = std::make_shared<std::string>(encoded->size(), '\0');
    const std::string name(kind.name);
    for (const bool keep : {false, true}) {
      Add(name + (keep ? ".encode_residual" : ".encode"), [this, encoding = kind.encoding, room, keep] {
        Encode(encoding, room.get(), keep ? residual_.data() : nullptr);
        return absl::OkStatus();
      });
    }
    for (const bool add : {false, true}) {
      Add(name + (add ? ".decode_add" : ".decode"),
          [this, encoding = kind.encoding, payload, add] { return Decode(encoding, payload, add); });
    }
  }

  std::string BytesText(const Kind& kind) const {
    return absl::StrFormat(
        "encoded, block by block; %.2f times fewer bytes",
        static_cast<double>(values_.size()) * sizeof(float) / static_cast<double>(EncodedSize(kind.encoding)));
  }

  // Calls `of` with every block's begin and size.
  void ForBlocks(const std::function<void(std::size_t, std::size_t)>& of) const {
    for (std::size_t at = 0; at < values_.size(); at += kBlock) of(at, std::min(kBlock, values_.size() - at));
  }

  std::size_t EncodedSize(v1::Encoding encoding) const {
    std::size_t bytes = 0;
    ForBlocks(
        [&](std::size_t, std::size_t count) { bytes += EncodedBytes(encoding, count, TopKCount(kFraction, count)); });
    return bytes;
  }

  void Encode(v1::Encoding encoding, std::string* out, float* residual) const {
    char* end = out->data();
    ForBlocks([&](std::size_t at, std::size_t count) {
      end = EncodeBlock(encoding, values_.data() + at, count, TopKCount(kFraction, count), end,
                        residual == nullptr ? nullptr : residual + at);
    });
  }

  absl::Status Decode(v1::Encoding encoding, const Buffer& payload, bool add) {
    std::size_t next = 0;
    for (std::size_t at = 0; at < values_.size(); at += kBlock) {
      const std::size_t count = std::min(kBlock, values_.size() - at);
      const auto decode = add ? DecodeAddBlock : DecodeBlock;
      ASSIGN_OR_RETURN(next, decode(encoding, payload, next, count, out_.data() + at));
    }
    return absl::OkStatus();
  }

  AlignedFloats values_, out_, residual_;
  std::vector<Subject> subjects_;
};

}  // namespace

absl::StatusOr<std::vector<BenchRow>> BenchEncode(std::uint64_t elements, const Turns& turns) {
  return EncodeBench(elements).Run(turns);
}

}  // namespace leeway
