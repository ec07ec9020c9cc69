// DataLead: how many leased records a worker asks for, by how long its steps are. A request to the coordinator takes a
// few milliseconds, of which most are its disk's; a worker whose steps are as short would wait for each of them. So it
// keeps the records of the next kLead of its time in hand. With longer steps it has one batch, as before.
//
// Thread safety: none; a plain object. Time is a parameter.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "common/clock.h"

namespace leeway {

class DataLead {
 public:
  // Several times what a slow disk needs for a save (10 ms), and no time that anybody notices at the end of an epoch,
  // where others may be without data while this worker has some.
  static constexpr absl::Duration kLead = absl::Milliseconds(50);
  // However short its steps are, a worker has at most this share of its part of an epoch in hand: small data sets are
  // for all.
  static constexpr std::uint64_t kShare = 8;

  // `part`: an epoch's records for each worker.
  DataLead(std::uint64_t samples_per_step, std::uint64_t part)
      : samples_per_step_(samples_per_step), most_(part / kShare) {}

  // Waits for data between two steps count: where they are long, the lead is short, and no harm is done.
  void StepBegins(Instant now);

  // How many records to ask for when there are `in_hand`, of which `missing` more make the next batch. 0: enough.
  std::uint64_t Wanted(std::uint64_t in_hand, std::uint64_t missing) const;

 private:
  std::uint64_t samples_per_step_;
  std::uint64_t most_;
  std::optional<Instant> last_;
  absl::Duration step_ = absl::InfiniteDuration();  // how long one takes, of late; infinite: not known yet
};

}  // namespace leeway
