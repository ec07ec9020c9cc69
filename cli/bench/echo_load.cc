#include "cli/bench/echo_load.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "cli/bench/measure.h"
#include "common/mutex.h"

namespace leeway {
namespace {

class Load {
 public:
  Load(const EchoCall& call, int outstanding, absl::Duration time)
      : call_(call), lanes_(static_cast<std::size_t>(outstanding)), running_(outstanding) {
    begin_ = MonotonicSeconds();
    end_ = begin_ + absl::ToDoubleSeconds(time);
  }

  absl::StatusOr<EchoFigures> Run() {
    for (Lane& lane : lanes_) Start(&lane);
    {
      MutexLock lock(mu_);
      while (running_ > 0) ended_.Wait(mu_);
    }
    if (failed_) {
      MutexLock lock(mu_);
      return failure_;
    }
    EchoFigures figures;
    double last = begin_;
    for (const Lane& lane : lanes_) {
      figures.seconds.insert(figures.seconds.end(), lane.seconds.begin(), lane.seconds.end());
      last = std::max(last, lane.started + lane.seconds.back());
    }
    figures.calls_per_second = static_cast<double>(figures.seconds.size()) / (last - begin_);
    std::sort(figures.seconds.begin(), figures.seconds.end());
    return figures;
  }

 private:
  // One call at a time.
  struct Lane {
    double started = 0;
    std::vector<double> seconds;
  };

  void Start(Lane* lane) {
    lane->started = MonotonicSeconds();
    call_([this, lane](const absl::Status& status) {
      const double now = MonotonicSeconds();
      lane->seconds.push_back(now - lane->started);
      if (!status.ok()) failed_ = true;
      if (now < end_ && !failed_) return Start(lane);
      MutexLock lock(mu_);
      failure_.Update(status);
      --running_;
      ended_.NotifyAll();
    });
  }

  const EchoCall& call_;
  double begin_ = 0;
  double end_ = 0;
  std::vector<Lane> lanes_;
  std::atomic<bool> failed_ = false;

  Mutex mu_;
  CondVar ended_;
  int running_ LEEWAY_GUARDED_BY(mu_);
  absl::Status failure_ LEEWAY_GUARDED_BY(mu_);  // the first
};

}  // namespace

double EchoFigures::Percentile(double p) const {
  const auto last = static_cast<double>(seconds.size() - 1);
  return seconds[static_cast<std::size_t>(std::lround(p * last))];
}

absl::StatusOr<EchoFigures> RunEchoLoad(const EchoCall& call, int outstanding, absl::Duration time) {
  return Load(call, outstanding, time).Run();
}

}  // namespace leeway
