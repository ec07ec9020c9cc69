#include "tests/support/push_book.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/encode_run.h"

namespace leeway {
namespace {

std::string Name(const PushBook::Key& key) {
  return absl::StrCat("chunk ", key.chunk, " of step ", key.step, " of incarnation ", absl::Hex(key.incarnation),
                      " on shard ", key.shard);
}

std::string Said(const PushBook::Chunk& chunk) {
  return chunk.denied ? "was never to be applied" : absl::StrCat("was ", v1::Verdict_Name(chunk.told));
}

bool IsFinal(v1::Verdict verdict) { return verdict != v1::VERDICT_NONE && verdict != v1::HELD; }

}  // namespace

std::optional<std::string> PushBook::Came(std::uint32_t shard, const v1::PushRequest& header, const Buffer& payload) {
  if (header.null_verdict() != v1::VERDICT_NONE) return std::nullopt;
  const Key key{header.stamp().incarnation(), header.clock(), shard, header.chunk()};
  const auto [it, first] = chunks_.try_emplace(key, Chunk{header, payload});
  if (first) return std::nullopt;
  const bool same =
      it->second.header.encoding() == header.encoding() && it->second.payload.ToString() == payload.ToString();
  return same ? std::nullopt : std::optional(absl::StrCat(Name(key), " came again with other bytes"));
}

std::optional<std::string> PushBook::Answered(std::uint32_t shard, const v1::PushRequest& header,
                                              const absl::Status& status, const v1::PushReply& reply) {
  const Key key{header.stamp().incarnation(), header.clock(), shard, header.chunk()};
  const auto it = chunks_.find(key);
  if (it == chunks_.end() || header.null_verdict() != v1::VERDICT_NONE) return std::nullopt;
  Chunk& chunk = it->second;
  const std::string before = Said(chunk);
  const auto contradicted = [&](const std::string& now) {
    return std::optional(absl::StrCat(Name(key), " ", before, ", and now ", now));
  };
  if (absl::IsFailedPrecondition(status)) {
    chunk.denied = true;
    return chunk.told == v1::APPLIED ? contradicted(std::string(status.message())) : std::nullopt;
  }
  v1::Verdict verdict = v1::VERDICT_NONE;
  if (absl::IsInvalidArgument(status) && absl::StrContains(status.message(), "non-finite")) verdict = v1::REFUSED;
  if (status.ok() && !reply.has_not_yet()) verdict = reply.verdict();
  if (verdict == v1::VERDICT_NONE) return std::nullopt;
  // (In rounds what was refused is dropped with its round.)
  const auto counts = [](v1::Verdict said) { return said == v1::APPLIED; };
  const bool other = IsFinal(chunk.told) ? verdict == v1::HELD || counts(verdict) != counts(chunk.told)
                                         : chunk.denied && counts(verdict);
  chunk.told = verdict;
  return other ? contradicted(absl::StrCat("is ", v1::Verdict_Name(verdict))) : std::nullopt;
}

void PushBook::Add(const Placement& placement, const Chunk& chunk, double factor, std::vector<double>* sum) {
  const ChunkRun run{chunk.header.run().first_block(), chunk.header.run().num_blocks()};
  const std::vector<float> values = *DecodeRun(placement, run, chunk.header.encoding(), chunk.payload);
  const float* value = values.data();
  for (std::uint32_t i = 0; i < run.num_blocks; ++i) {
    const std::uint64_t block = run.first_block + std::uint64_t{i} * placement.num_shards();
    const std::uint64_t begin = placement.BlockBegin(block);
    for (std::uint64_t j = 0; j < placement.BlockSize(block); ++j) (*sum)[begin + j] += factor * *value++;
  }
}

}  // namespace leeway
