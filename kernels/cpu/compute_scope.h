// ComputeScope: how the calling thread computes while the scope lives: with a given number of OpenMP threads, and
// with denormal numbers flushed to zero, which slow oneDNN's kernels down more than tenfold when activations or
// gradients fade out. (OpenMP's helper threads, with threads > 1, keep the setting they were started with.)
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// OpenMP's own header is missing where clang has no libomp; the runtime is oneDNN's, GCC's libgomp.
extern "C" void omp_set_num_threads(int threads);
extern "C" int omp_get_max_threads();

namespace leeway {

class ComputeScope {
 public:
  explicit ComputeScope(int threads) {
    if (omp_get_max_threads() != threads) omp_set_num_threads(threads);
#if defined(__x86_64__)
    saved_ = _mm_getcsr();
    constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
    _mm_setcsr(saved_ | kFlushToZero | kDenormalsAreZero);
#endif
  }
  ~ComputeScope() {
#if defined(__x86_64__)
    _mm_setcsr(saved_);
#endif
  }
  ComputeScope(const ComputeScope&) = delete;
  ComputeScope& operator=(const ComputeScope&) = delete;

 private:
  [[maybe_unused]] unsigned saved_ = 0;
};

}  // namespace leeway
