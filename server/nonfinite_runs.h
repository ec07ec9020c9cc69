// NonFiniteRuns: how many pushes in a row held a NaN or an infinity, for each worker: what the coordinator's quarantine
// goes by. By worker id, which is the name's, so that a new incarnation goes on where the last one was.
//
// Thread safety: none; a plain object, guarded by its owner.
// Invariants: the longest run never gets shorter, so that who reads it now and then misses none. There are as many
// entries as workers that ever had such a push.
#pragma once

#include <cstdint>
#include <map>

#include "google/protobuf/repeated_field.h"
#include "proto/coordinator.pb.h"
#include "server/clock_table.h"

namespace leeway {

class NonFiniteRuns {
 public:
  using Saved = google::protobuf::RepeatedPtrField<v1::NonFiniteRun>;

  NonFiniteRuns() = default;
  explicit NonFiniteRuns(const Saved& saved);

  // A whole push of `worker` has its verdict, and held such a value or none. Those that say neither (dropped, refused
  // by their delay, empty) are not told.
  void Add(WorkerId worker, bool nonfinite);

  // The runs of every worker that has had one, added to `out`.
  void Save(Saved* out) const;

 private:
  struct Run {
    std::uint64_t current = 0;
    std::uint64_t longest = 0;
  };
  std::map<WorkerId, Run> runs_;
};

}  // namespace leeway
