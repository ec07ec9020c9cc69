// What a seed decides of a simulated cluster.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>

#include "tests/support/sim_cluster.h"

namespace leeway {

// Rate 1, leased data in small ranges, two epochs.
v1::Policy SimPolicy(std::int64_t bound, std::uint32_t workers);

SimCluster::Options SimOptions(std::uint64_t seed, bool rounds);

// The same with SimTrainers. In half of them no message is lost without a word but where links are cut: then what an
// encoding's residual and the weights have together is exact, whatever else happens.
SimCluster::Options SimTrainerOptions(std::uint64_t seed, bool rounds);

// Something is lost now and then, and the run goes back to a checkpoint.
enum class SimLoss { kUnsynced, kNoJournal, kJournalLost, kOtherShards };
SimCluster::Options SimLossOptions(std::uint64_t seed, bool rounds, bool trainers, SimLoss loss);

}  // namespace leeway
