#include "common/permutation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/catch.h"

namespace leeway {
namespace {

std::vector<std::uint64_t> All(const Permutation& permutation) {
  std::vector<std::uint64_t> values;
  for (std::uint64_t i = 0; i < permutation.size(); ++i) values.push_back(permutation.At(i));
  return values;
}

TEST_CASE("Permutation: a bijection of every size") {
  for (const std::uint64_t size : {1, 2, 3, 4, 5, 10, 16, 17, 1000, 4096, 4097, 60000}) {
    for (const std::uint64_t epoch : {0, 1, 7}) {
      std::vector<std::uint64_t> values = All(Permutation(size, 42, epoch));
      std::sort(values.begin(), values.end());
      for (std::uint64_t i = 0; i < size; ++i) {
        if (values[i] != i) FAIL("size " << size << ", epoch " << epoch << ": " << i << " is missing or doubled");
      }
    }
  }
}

TEST_CASE("Permutation: sizes up to 2^64 stay inside and apart") {
  for (const std::uint64_t size :
       {std::uint64_t{1} << 40, (std::uint64_t{1} << 62) + 1, std::numeric_limits<std::uint64_t>::max()}) {
    const Permutation permutation(size, 1, 2);
    std::vector<std::uint64_t> values;
    for (std::uint64_t i = 0; i < 1000; ++i) values.push_back(permutation.At(size - 1 - i * 7));
    std::sort(values.begin(), values.end());
    CHECK(values.back() < size);
    CHECK(std::adjacent_find(values.begin(), values.end()) == values.end());
  }
}

TEST_CASE("Permutation: epochs and seeds give orders of their own, the same ones give the same") {
  const std::vector<std::uint64_t> first = All(Permutation(1000, 1, 0));
  CHECK((first == All(Permutation(1000, 1, 0))));
  CHECK((first != All(Permutation(1000, 1, 1))));
  CHECK((first != All(Permutation(1000, 2, 0))));
  CHECK((All(Permutation(1000, 1, 2)) != All(Permutation(1000, 2, 1))));
}

// Leases and checkpoints name positions: these numbers may never change. (From a second implementation, in Python.)
TEST_CASE("Permutation: the order is fixed for ever") {
  CHECK(All(Permutation(10, 0, 0)) == std::vector<std::uint64_t>{1, 9, 6, 5, 2, 8, 7, 3, 4, 0});
  CHECK(All(Permutation(10, 1, 3)) == std::vector<std::uint64_t>{0, 6, 4, 9, 7, 8, 3, 5, 1, 2});
  const Permutation fashion(60000, 7, 1);
  CHECK(std::vector<std::uint64_t>{fashion.At(0), fashion.At(1), fashion.At(59999)} ==
        std::vector<std::uint64_t>{20671, 17904, 25929});
}

// Each value at each position equally often over the epochs: chi-square with (size - 1)^2 degrees of freedom, whose
// standard deviation is sqrt(2 * freedom). (The factor (size - 1) / size: within one order, no value comes twice.) The
// seeds are fixed, so this passes always or never.
TEST_CASE("Permutation: roughly uniform") {
  constexpr int kEpochs = 20000;
  for (const std::uint64_t size : {2, 3, 5, 7, 10, 16, 50}) {
    std::vector<double> counts(size * size);
    for (std::uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
      const Permutation permutation(size, 5, epoch);
      for (std::uint64_t i = 0; i < size; ++i) ++counts[i * size + permutation.At(i)];
    }
    const double expected = static_cast<double>(kEpochs) / static_cast<double>(size);
    double chi_square = 0;
    for (const double count : counts) chi_square += (count - expected) * (count - expected) / expected;
    chi_square *= static_cast<double>(size - 1) / static_cast<double>(size);
    const double freedom = static_cast<double>((size - 1) * (size - 1));
    CAPTURE(size, chi_square, freedom);
    CHECK(std::abs(chi_square - freedom) < 5 * std::sqrt(2 * freedom));
  }
}

// Neighbours in the order are no neighbours in the file: the mean distance of a random order is size / 3.
TEST_CASE("Permutation: neighbours are far apart") {
  const std::vector<std::uint64_t> values = All(Permutation(60000, 3, 0));
  double distance = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    distance += std::abs(static_cast<double>(values[i]) - static_cast<double>(values[i - 1]));
  }
  CHECK(distance / 59999 == Approx(20000).epsilon(0.02));
}

}  // namespace
}  // namespace leeway
