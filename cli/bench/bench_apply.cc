#include "cli/bench/bench_apply.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/bench/aligned_floats.h"
#include "cli/bench/axpy.h"
#include "common/placement.h"
#include "common/status_macros.h"
#include "kernels/correct_delay.h"
#include "kernels/finite.h"
#include "kernels/optimizers/make_optimizer.h"
#include "kernels/optimizers/sgd.h"

namespace leeway {
namespace {

constexpr int kMostSlots = 2;
constexpr float kGradient = 1e-3f;              // its square is far from the denormal numbers, which are slow
constexpr std::size_t kCheckPiece = 16 * 1024;  // floats: what a shard looks at in one piece
constexpr std::size_t kCorrectedPiece = 4096;   // and corrects in one

struct Kind {
  const char* name;
  v1::OptimizerConfig::Kind kind;
  double goal;  // of axpy's speed
};
constexpr Kind kKinds[] = {
    {"sgd", v1::OptimizerConfig::SGD, 0.9},       {"momentum", v1::OptimizerConfig::MOMENTUM, 0},
    {"adagrad", v1::OptimizerConfig::ADAGRAD, 0}, {"rmsprop", v1::OptimizerConfig::RMSPROP, 0},
    {"adam", v1::OptimizerConfig::ADAM, 0.8},     {"adamw", v1::OptimizerConfig::ADAMW, 0.8},
    {"ftrl", v1::OptimizerConfig::FTRL, 0},
};

// "32768K", as the system has it.
std::string LastCache() {
  std::string size = "unknown size";
  std::ifstream("/sys/devices/system/cpu/cpu0/cache/index3/size") >> size;
  return size;
}

class ApplyBench {
 public:
  explicit ApplyBench(std::uint64_t elements)
      : weights_(elements, 1.0f),
        gradient_(elements, kGradient),
        slots_(kMostSlots, weights_),
        corrected_(kCorrectedPiece, 0.0f) {}

  absl::StatusOr<std::vector<BenchRow>> Run(const Turns& turns) {
    AddAxpy();
    for (const Kind& kind : kKinds) RETURN_IF_ERROR(Add(kind));
    AddCorrected();
    ASSIGN_OR_RETURN(const Measured measured, MeasureInTurns(subjects_, turns));
    std::vector<BenchRow> rows;
    const auto add = [&](const std::string& name, const std::string& baseline, double goal, const std::string& what) {
      if (measured.Has(name)) rows.push_back(measured.Speed(name, baseline, goal, what));
    };
    add("apply.axpy", "", 0, AxpyText());
    for (const Kind& kind : kKinds) {
      const std::string name = absl::StrCat("apply.", kind.name);
      add(name, "apply.axpy", kind.goal, "one step on the whole vector; one thread");
      add(name + ".checked", "apply.axpy", 0,
          "chunk by chunk as a shard does: the search for NaN and infinity, then the step");
    }
    add("apply.dc", "apply.axpy", 0,
        "delay_policy=dc: piece by piece, the gradient corrected with the weights it was computed on, then sgd's "
        "step");
    return rows;
  }

 private:
  std::string AxpyText() const {
    return absl::StrFormat("y += a * x over arrays of %.1f MiB each, which should not fit the last cache (of %s)",
                           static_cast<double>(weights_.size()) * sizeof(float) / (1 << 20), LastCache());
  }

  double Bytes(int slots) const { return static_cast<double>(weights_.size()) * sizeof(float) * (3 + 2 * slots); }

  void AddAxpy() {
    subjects_.push_back({"apply.axpy",
                         [this]() -> absl::StatusOr<double> {
                           Axpy(1e-6f, gradient_.data(), weights_.size(), weights_.data());
                           return Bytes(0);
                         },
                         {}});
  }

  absl::Status Add(const Kind& kind) {
    v1::OptimizerConfig config;
    config.set_kind(kind.kind);
    config.set_momentum(0.9);
    config.set_beta1(0.9);
    config.set_beta2(0.999);
    config.set_rho(0.99);
    config.set_epsilon(1e-8);
    config.set_l1(1e-3);
    config.set_beta(1);
    ASSIGN_OR_RETURN(std::unique_ptr<Optimizer> made, MakeOptimizer(config));
    const std::shared_ptr<const Optimizer> optimizer = std::move(made);
    const double bytes = Bytes(optimizer->slots());
    const std::string name = absl::StrCat("apply.", kind.name);
    subjects_.push_back({name,
                         [this, optimizer, bytes]() -> absl::StatusOr<double> {
                           Step(*optimizer, 0, weights_.size());
                           return bytes;
                         },
                         {}});
    subjects_.push_back({name + ".checked",
                         [this, optimizer, bytes]() -> absl::StatusOr<double> {
                           RETURN_IF_ERROR(CheckAndStep(*optimizer));
                           return bytes;
                         },
                         {}});
    return absl::OkStatus();
  }

  // Reads the weights, those that were given, and the gradient; writes the weights. (The weights are read twice, but
  // the second time from the cache.)
  void AddCorrected() {
    subjects_.push_back({"apply.dc",
                         [this]() -> absl::StatusOr<double> {
                           for (std::size_t at = 0; at < weights_.size(); at += kCorrectedPiece) {
                             const std::size_t count = std::min(kCorrectedPiece, weights_.size() - at);
                             CorrectDelay(0.04f, gradient_.data() + at, weights_.data() + at, slots_[0].data() + at,
                                          count, corrected_.data());
                             StepArgs args;
                             args.weights = weights_.data() + at;
                             args.gradient = corrected_.data();
                             args.count = count;
                             args.rate = 1e-6;
                             Sgd().Step(args);
                           }
                           return static_cast<double>(weights_.size()) * sizeof(float) * 4;
                         },
                         {}});
  }

  void Step(const Optimizer& optimizer, std::size_t begin, std::size_t count) {
    float* slots[kMostSlots];
    for (int i = 0; i < kMostSlots; ++i) slots[i] = slots_[static_cast<std::size_t>(i)].data() + begin;
    StepArgs args;
    args.weights = weights_.data() + begin;
    args.gradient = gradient_.data() + begin;
    args.slots = slots;
    args.count = count;
    args.rate = 1e-6;
    args.step = ++steps_;
    optimizer.Step(args);
  }

  absl::Status CheckAndStep(const Optimizer& optimizer) {
    for (std::size_t chunk = 0; chunk < weights_.size(); chunk += Placement::kChunkElements) {
      const std::size_t end = std::min<std::size_t>(weights_.size(), chunk + Placement::kChunkElements);
      for (std::size_t at = chunk; at < end; at += kCheckPiece) {
        const std::size_t count = std::min(kCheckPiece, end - at);
        if (FirstNonFinite(gradient_.data() + at, count) < count) return absl::InternalError("a value is not finite");
      }
      for (std::size_t at = chunk; at < end; at += Placement::kMaxBlock) {
        Step(optimizer, at, std::min<std::size_t>(Placement::kMaxBlock, end - at));
      }
    }
    return absl::OkStatus();
  }

  AlignedFloats weights_;
  const AlignedFloats gradient_;
  std::vector<AlignedFloats> slots_;
  AlignedFloats corrected_;
  std::uint64_t steps_ = 0;
  std::vector<Subject> subjects_;
};

}  // namespace

absl::StatusOr<std::vector<BenchRow>> BenchApply(std::uint64_t elements, const Turns& turns) {
  return ApplyBench(elements).Run(turns);
}

}  // namespace leeway
