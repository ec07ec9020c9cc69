// FastClock: a clock on which real time passes so many times as fast, for what waits by seconds.
//
// Thread safety: as Clock.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "common/clock.h"

namespace leeway {

class FastClock final : public Clock {
 public:
  explicit FastClock(std::int64_t times) : times_(times) {}

  Instant Now() const override { return {real_->Now().nanos * times_}; }
  std::uint64_t RunAt(Instant time, std::function<void()> fn) override {
    return real_->RunAt({time.nanos / times_}, std::move(fn));
  }
  bool Cancel(std::uint64_t id) override { return real_->Cancel(id); }
  void Stop() override { real_->Stop(); }

 private:
  const std::int64_t times_;
  const std::unique_ptr<Clock> real_ = MakeSystemClock();
};

}  // namespace leeway
