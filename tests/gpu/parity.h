// Parity: runs every op of a Backend against the plain loops of kernels/reference, over one table of shapes
// (tests/gpu/shapes.h). What is checked of each case:
// - every element lies within a tolerance that comes from the type and the length of the sums; NaN equals NaN alone;
// - the same bits come out when the case runs a second time;
// - nothing is written before or behind an output, none of whose elements may be left as it was (outputs begin as
//   garbage that no op computes).
// Arrays lie one element off their alignment in some cases, as tensors do in the flat buffer of weights.
//
// Thread safety: none. Ownership: the Backend must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"
#include "kernels/transformer_ops.h"
#include "kernels/vector_ops.h"

namespace leeway {

using Doubles = std::vector<double>;

// An array in device memory of float32 or bfloat16, or of what an op returns, with room around it.
struct Array {
  DeviceMemory memory;
  std::size_t offset = 0;  // bytes
  std::int64_t count = 0;
  DataType type = DataType::kF32;
  Doubles values;  // exactly what was uploaded

  DevicePtr<char> at() const { return memory.as<char>() + offset; }
  TypedPtr typed() const { return {DevicePtr<void>(at()), type}; }
  template <typename T>
  DevicePtr<T> as() const {
    return DevicePtr<T>(static_cast<T*>(DevicePtr<void>(at()).address()));
  }
  DevicePtr<float> floats() const { return as<float>(); }
};

struct ParityRow {
  std::string name;     // "linear forward 7x17->5 bf16"
  double worst = 0;     // the largest error, in tolerances
  std::string failure;  // empty: passed
};

class Parity {
 public:
  struct Options {
    bool small = false;  // the small shapes alone: for sanitizers, which are slow
    bool tf32 = false;   // products of float32 may have rounded their inputs to TF32
    bool once = false;   // not a second time for equal bits: sanitizers learn nothing from that
  };

  Parity(Backend& backend, const Options& options);

  // Every case, in the table's order.
  void RunAll();
  // Those of one group (kParityGroups); InvalidArgument if it is none.
  absl::Status RunGroup(absl::string_view name);
  const std::vector<ParityRow>& rows() const { return rows_; }

  // For the cases (tests/gpu/*_parity.cc).
  Backend& backend() { return backend_; }
  Stream& stream() { return *stream_; }
  bool small() const { return options_.small; }
  // The types that this backend's TransformerOps are tried with.
  std::vector<DataType> types() const;

  // Runs `body` twice, or once. Arrays are `shifted` by one element.
  void Run(const std::string& name, bool shifted, const std::function<void()>& body);
  // In [-spread, spread), plus `center`; the same for the same seed.
  Array Random(std::int64_t count, std::uint32_t seed, DataType type = DataType::kF32, double spread = 1,
               double center = 0);
  Array Of(const Doubles& values, DataType type = DataType::kF32);
  template <typename T>
  DeviceMemory Upload(const std::vector<T>& values) {
    return UploadBytes(values.data(), values.size() * sizeof(T));
  }
  Array Garbage(std::int64_t count, DataType type = DataType::kF32);

  struct Tolerance {
    std::int64_t length = 0;     // of the sums of float32
    double inner_roundings = 0;  // to bfloat16 on the way, in parts of the magnitude; for bfloat16 alone
    bool product = false;        // of float32 through the matrix units
  };
  // `magnitude`: per element, the same sum over absolute values.
  void Expect(const Array& actual, const Doubles& expected, const Doubles& magnitude, const Tolerance& tolerance);
  void ExpectExact(const Array& actual, const Doubles& expected);
  // Of an op's result that is no array of floats, and of anything else.
  template <typename T>
  std::vector<T> Download(const DeviceMemory& memory) {
    std::vector<T> values(memory.bytes() / sizeof(T));
    DownloadBytes(memory.as<const void>(), values.data(), memory.bytes());
    return values;
  }
  void Require(bool condition, const std::string& what);
  void RequireBits(const void* data, std::size_t bytes);  // the same in both runs

 private:
  DeviceMemory UploadBytes(const void* data, std::size_t bytes);
  void DownloadBytes(DevicePtr<const void> from, void* to, std::size_t bytes);
  Doubles Values(const Array& array);
  void Fail(const std::string& what);

  Backend& backend_;
  const Options options_;
  std::unique_ptr<Stream> stream_;
  std::vector<ParityRow> rows_;
  // Of the case at work.
  bool shifted_ = false;
  bool second_ = false;
  std::size_t outputs_ = 0;
  std::vector<std::vector<char>> first_;  // the first run's outputs
};

// The cases, by header of the ops.
void OpsParity(Parity& parity);
void TransformerParity(Parity& parity);
void AttentionParity(Parity& parity);
void VectorParity(Parity& parity);

struct ParityGroup {
  const char* name;
  void (*run)(Parity&);
};
inline constexpr ParityGroup kParityGroups[] = {
    {"ops", OpsParity}, {"transformer", TransformerParity}, {"attention", AttentionParity}, {"vector", VectorParity}};

Doubles Magnitudes(const Doubles& values);

}  // namespace leeway
