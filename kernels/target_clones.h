// LEEWAY_TARGET_CLONES before a function: compiled for several instruction sets, the best one that this CPU
// has is chosen when the program starts. Only for functions whose every operation IEEE 754 rounds exactly
// (+ - * / sqrt, integers), one element at a time, so that each version gives the same bits; fused
// multiply-adds are off (.bazelrc), approximate reciprocals need -ffast-math, which nobody passes.
//
// clang 14 does not link calls from other files, and thread sanitizer crashes in the resolvers: no clones there.
//
// LEEWAY_INLINE: for what such functions share: it is inlined into each version, and compiled for its instruction set.
#pragma once

#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define LEEWAY_HAS_TARGET_CLONES 1
#define LEEWAY_TARGET_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LEEWAY_HAS_TARGET_CLONES 0
#define LEEWAY_TARGET_CLONES
#endif

#define LEEWAY_INLINE inline __attribute__((always_inline))
