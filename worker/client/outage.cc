#include "worker/client/outage.h"

#include <algorithm>
#include <utility>

namespace leeway {

Outage::Advice Outage::Failed(Instant began, Instant now, absl::Duration limit) {
  if (failing_ && now - last_failure_ >= kForgotten) failing_ = complained_ = false;
  last_failure_ = now;
  if (!failing_) {
    failing_ = true;
    since_ = std::max(began, last_answer_);
    first_failure_ = now;
  }
  Advice advice;
  advice.lasting = now - since_;
  const bool tried_again = began >= first_failure_;
  advice.give_up = now - first_failure_ >= limit || (tried_again && advice.lasting >= limit);
  const bool first_due = !complained_ && advice.lasting >= kFirstComplaint;
  const bool again_due = complained_ && now - last_complaint_ >= kComplainEvery;
  if (first_due || again_due) {
    advice.complain = true;
    complained_ = true;
    last_complaint_ = now;
  }
  return advice;
}

bool Outage::Answered(Instant now) {
  failing_ = false;
  last_answer_ = now;
  return std::exchange(complained_, false);
}

}  // namespace leeway
