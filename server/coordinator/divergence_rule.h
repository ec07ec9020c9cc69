// DivergenceRule: has the loss diverged, so that the run should go back to a checkpoint (--rollback_on_divergence)?
//
// A loss is bad when it is not finite, or above `factor` times the one that the run began with: a lower one would be a
// matter of taste, as training losses scatter. The evaluator's word is enough: it is one on the whole model. Of the
// trainers more than half must say so at the same time: a single one may just have bad data, and its pushes are
// refused. For the same reason a trainer's loss counts as not finite when that of half of its samples is.
//
// Thread safety: none; a plain object, guarded by its owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>

namespace leeway {

class DivergenceRule {
 public:
  // A trainer's loss is its mean over at least so many samples: single batches scatter.
  static constexpr std::uint64_t kSamples = 1000;

  explicit DivergenceRule(double factor) : factor_(factor) {}  // 0: never

  // For a restart: the losses that the run began with; not finite or 0: they are not known.
  void Restore(double trained, double evaluated);

  // A trainer's totals of this incarnation; `steps` are the cluster's, and so are `trainers`: whoever is one of them,
  // also those of whom nothing was heard yet. loss_sum is without `nonfinite` of the samples, whose loss was not
  // finite.
  void Trained(std::uint32_t worker, std::uint64_t incarnation, double loss_sum, std::uint64_t samples,
               std::uint64_t steps, std::size_t trainers, std::uint64_t nonfinite = 0);
  void Evaluated(double loss, std::uint64_t steps);
  // A checkpoint was taken, or the run taken up, at `steps`: the first one counts as good until a loss was.
  void Saved(std::uint64_t steps);
  // A shard's weights hold a NaN or an infinity, which `why` says.
  void NotFinite(const std::string& why) {
    if (factor_ > 0 && !diverged()) reason_ = why;
  }
  void Forget(std::uint32_t worker) { trainers_.erase(worker); }  // it has left or expired

  bool diverged() const { return !reason_.empty(); }
  const std::string& reason() const { return reason_; }
  // The cluster's steps when the loss was last good: what was saved later may have diverged.
  std::uint64_t last_good_steps() const { return last_good_steps_; }
  // Where nobody judges, everything is as good.
  std::uint64_t trusted_steps() const {
    return factor_ == 0 ? std::numeric_limits<std::uint64_t>::max() : last_good_steps_;
  }

 private:
  struct Trainer {
    std::uint64_t incarnation = 0;
    double loss_sum = 0;  // when its window began
    std::uint64_t samples = 0, nonfinite = 0;
    bool bad = false;
  };
  // Notes the first loss of its kind.
  bool Bad(double loss, std::optional<double>* first) const;

  const double factor_;
  std::map<std::uint32_t, Trainer> trainers_;
  // Losses of training and of evaluation are not of the same samples.
  std::optional<double> first_trained_, first_evaluated_;
  bool judged_ = false;
  bool saved_ = false;
  std::uint64_t last_good_steps_ = 0;
  std::string reason_;
};

}  // namespace leeway
