// The one table of shapes that every op's parity is checked over: sizes of 1, odd tails, the edges of tiles and
// vectors, and those of the models. `large` ones are left out under sanitizers.
//
// Thread safety: constants.
#pragma once

#include <cstdint>

#include "kernels/transformer_ops.h"

namespace leeway::shapes {

template <typename Shape>
struct Row {
  Shape shape;
  bool large = false;
};

inline constexpr Row<std::int64_t> kCounts[] = {{1}, {3}, {7}, {16}, {1000}, {4099}, {(1 << 19) + 3, true}};

// Vectors that are encoded block by block, beside blocks of 64 and 4096 of the sizes above.
struct BlocksShape {
  std::int64_t count, block;
};
inline constexpr Row<BlocksShape> kBlocks[] = {
    {{20000, 7000}},         {{40001, 16384}},         {{70001, 32768}},          {{140000, 135168}},
    {{200003, 65536}, true}, {{300001, 131072}, true}, {{1100003, 262144}, true}, {{700001, 600000}, true}};

inline constexpr Row<LinearShape> kLinear[] = {{{1, 1, 1}},
                                               {{1, 7, 17}},
                                               {{7, 1, 10}},
                                               {{17, 33, 1}},
                                               {{8, 16, 16}},
                                               {{64, 64, 64}},
                                               {{5, 100, 65}},
                                               {{130, 40, 257}},
                                               {{3, 785, 10}},
                                               {{70, 8, 256}},
                                               {{128, 784, 256}, true},
                                               {{24, 768, 64}, true},
                                               {{100, 256, 384}, true},
                                               {{65, 512, 520}, true},
                                               {{2048, 24, 1024}, true},
                                               {{1501, 40, 1032}, true}};

struct ConvShape {
  ImageShape image;
  std::int64_t out_channels;
};
inline constexpr Row<ConvShape> kConvolutions[] = {
    {{{1, 1, 1, 1}, 1}},  {{{2, 5, 7, 1}, 16}},         {{{1, 7, 3, 17}, 33}},        {{{5, 4, 9, 3}, 7}},
    {{{4, 6, 6, 8}, 16}}, {{{9, 28, 28, 1}, 16}, true}, {{{3, 14, 14, 16}, 32}, true}};

inline constexpr Row<ImageShape> kImages[] = {
    {{1, 2, 2, 1}}, {{2, 3, 5, 7}}, {{1, 14, 15, 33}}, {{2, 7, 4, 17}}, {{9, 28, 28, 16}, true}};

inline constexpr Row<LogitsShape> kLogits[] = {{{1, 1, 1}},
                                               {{3, 5, 8}},
                                               {{7, 10, 10}},
                                               {{5, 64, 64}},
                                               {{4, 15, 17}},
                                               {{9, 1000, 1024}},
                                               {{3, 1025, 1025}},
                                               {{2, 5003, 5056}},
                                               {{5, 50257, 50304}, true},
                                               {{2, 60000, 60032}, true}};

inline constexpr Row<NormShape> kNorms[] = {{{1, 1}},    {{3, 2}},    {{5, 16}},   {{7, 33}},          {{64, 129}},
                                            {{9, 256}},  {{9, 320}},  {{3, 768}},  {{300, 768}, true}, {{5, 1024}},
                                            {{7, 1280}}, {{2, 1600}}, {{2, 2056}}, {{333, 512}, true}, {{2200, 16}}};

inline constexpr Row<AttentionShape> kAttention[] = {
    {{1, 1, 1, 1}},    {{2, 5, 3, 7}},           {{1, 65, 2, 16}},        {{1, 33, 1, 100}},
    {{1, 1, 1, 64}},   {{2, 63, 1, 64}},         {{1, 64, 2, 64}},        {{2, 65, 3, 64}},
    {{1, 200, 2, 64}}, {{2, 65, 3, 32}},         {{1, 130, 2, 24}},       {{1, 64, 3, 8}},
    {{2, 128, 2, 48}}, {{1, 129, 1, 256}, true}, {{2, 256, 2, 64}, true}, {{1, 700, 1, 64}, true}};

inline constexpr Row<EmbeddingShape> kEmbeddings[] = {
    {{1, 1, 1, 1}},          {{2, 3, 5, 7}},   {{3, 17, 2, 33}},           {{4, 8, 100, 64}},
    {{1, 129, 300, 1}},      {{1, 600, 5, 8}}, {{4, 300, 256, 320}, true}, {{2, 300, 5003, 768}, true},
    {{1, 65, 7, 2050}, true}};

}  // namespace leeway::shapes
