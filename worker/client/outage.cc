#include "worker/client/outage.h"

#include <utility>

namespace leeway {

Outage::Advice Outage::Failed(Instant now, absl::Duration limit) {
  if (failing_ && now - last_failure_ >= kForgotten) Answered();
  last_failure_ = now;
  if (!failing_) {
    failing_ = true;
    since_ = now;
  }
  Advice advice;
  advice.lasting = now - since_;
  advice.give_up = advice.lasting >= limit;
  const bool first_due = !complained_ && advice.lasting >= kFirstComplaint;
  const bool again_due = complained_ && now - last_complaint_ >= kComplainEvery;
  if (first_due || again_due) {
    advice.complain = true;
    complained_ = true;
    last_complaint_ = now;
  }
  return advice;
}

bool Outage::Answered() {
  failing_ = false;
  return std::exchange(complained_, false);
}

}  // namespace leeway
