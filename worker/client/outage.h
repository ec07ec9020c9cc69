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
    absl::Duration lasting;  // since the first failure after the last answer, or after nobody had asked for kForgotten
  };

  // An attempt failed at `now`; `limit` is how long an outage may last.
  Advice Failed(Instant now, absl::Duration limit);

  // The server answered. True when somebody heard of the outage, so that its end is worth a line too.
  bool Answered();

 private:
  bool failing_ = false;
  bool complained_ = false;
  Instant since_;
  Instant last_failure_;
  Instant last_complaint_;
};

}  // namespace leeway
