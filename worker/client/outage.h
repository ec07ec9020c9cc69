// Outage: how long a server has not answered, when people should hear of it, and when to give up on it.
//
// Thread safety: as an int. Time is a parameter.
#pragma once

#include "absl/time/time.h"
#include "common/clock.h"

namespace leeway {

class Outage {
 public:
  static constexpr absl::Duration kFirstComplaint = absl::Seconds(1);  // shorter ones are not worth a line
  static constexpr absl::Duration kComplainEvery = absl::Seconds(10);
  // Between two attempts of a call there is less: 20 s for the first one and a minute that a server may ask for.
  static constexpr absl::Duration kForgotten = absl::Minutes(2);

  struct Advice {
    bool complain = false;
    bool give_up = false;
    // Since the first attempt that failed began, or since the last answer if that came later. What failed before nobody
    // had asked for kForgotten does not count.
    absl::Duration lasting;
  };

  // An attempt that `began` then failed at `now`; `limit` is how long an outage may last. Where an attempt alone takes
  // longer to fail, another one is made before the server is given up: the answer to the first may have been lost.
  Advice Failed(Instant began, Instant now, absl::Duration limit);

  // The server answered. True when somebody heard of the outage, so that its end is worth a line too.
  bool Answered(Instant now);

 private:
  bool failing_ = false;
  bool complained_ = false;
  Instant since_;
  Instant first_failure_;
  Instant last_answer_;
  Instant last_failure_;
  Instant last_complaint_;
};

}  // namespace leeway
