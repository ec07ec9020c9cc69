#include "tests/support/sim_options.h"

#include "common/hash.h"

namespace leeway {

v1::Policy SimPolicy(std::int64_t bound, std::uint32_t workers) {
  v1::Policy policy;
  policy.set_number(1);
  policy.set_staleness_bound(bound);
  policy.set_max_delay(-1);
  policy.set_num_workers(workers);
  policy.set_data_sharing(v1::LEASED);
  policy.set_lease_records(16);
  policy.mutable_schedule()->set_rate(1);
  policy.mutable_stop()->set_epochs(2);
  return policy;
}

SimCluster::Options SimOptions(std::uint64_t seed, bool rounds) {
  Random random(seed);
  SimCluster::Options options;
  options.seed = seed;
  options.shards = static_cast<std::uint32_t>(random.Between(1, 3));
  options.workers = static_cast<std::uint32_t>(random.Between(1, 4));
  options.num_records = random.Between(20, 90);
  const std::int64_t bounds[] = {-1, 0, 1, 3};
  options.policy = SimPolicy(bounds[random.Below(4)], options.workers);
  if (rounds) {
    options.policy.set_staleness_bound(0);
    options.policy.set_aggregation(v1::ROUND);
    options.policy.set_data_sharing(v1::STATIC);
    options.policy.mutable_stop()->set_epochs(0);
    options.policy.mutable_stop()->set_steps(random.Between(5, 25));
    if (random.Chance(0.4))
      options.policy.set_round_quorum(static_cast<std::uint32_t>(random.Between(1, options.workers)));
  } else if (random.Chance(0.3)) {
    options.policy.set_max_delay(static_cast<std::int64_t>(random.Between(1, 6)));
    // Not drawn from `random`, so that the other runs of all seeds are what they were before there was sqrt.
    if (Random(seed + 90).Chance(0.4)) {
      options.policy.set_max_delay(1);
      options.policy.set_max_delay_sqrt(true);
    }
  }
  if (!rounds && Random(seed + 70).Chance(0.25)) options.policy.set_dc_lambda(0.5);  // nor this
  options.null_chance = random.Chance(0.3) ? 0.05 : 0;
  if (random.Chance(0.6)) {
    options.deaths = static_cast<int>(random.Below(4));
    options.cuts = static_cast<int>(random.Below(3));
    options.preemptions = static_cast<int>(random.Below(3));
  }
  if (random.Chance(0.4)) options.partitions = static_cast<int>(random.Between(1, 4));
  options.files = random.Chance(0.7);
  if (options.files) {
    options.ps_deaths = static_cast<int>(random.Below(5));
    options.power_loss = random.Chance(0.3);
    if (random.Chance(0.3)) options.full_disks = static_cast<int>(random.Between(1, 3));
    if (random.Chance(0.6)) options.checkpoint_steps = random.Between(3, 30);
    options.checkpoint_keep = random.Between(1, 3);
    options.own_storage = Random(seed + 110).Chance(0.4);  // nor this
  }
  if (options.workers > 1 && options.null_chance == 0 && random.Chance(0.15)) {
    options.sick_after = random.Below(8);
    options.policy.set_quarantine_after(static_cast<std::uint32_t>(random.Between(1, 5)));
  }
  if (random.Chance(0.5)) options.policy_changes = static_cast<int>(random.Between(1, 5));
  if (rounds && random.Chance(0.4)) {  // by time, and so in the middle of a round
    options.policy.mutable_stop()->set_steps(0);
    options.policy.mutable_stop()->set_minutes((0.1 + 3 * random.Unit()) / 60);
  }
  return options;
}

SimCluster::Options SimTrainerOptions(std::uint64_t seed, bool rounds) {
  SimCluster::Options options = SimOptions(seed, rounds);
  Random random(HashCombine(seed, 0x7ea1));
  options.trainers = true;
  options.sick_after.reset();
  options.policy.set_quarantine_after(0);
  options.policy.set_dc_lambda(0);  // what a gradient comes to would depend on what others have added meanwhile
  if (random.Chance(0.3)) options.policy.set_push_atomicity(v1::WHOLE);
  if (random.Chance(0.5)) options.faults.loss = 0;
  return options;
}

SimCluster::Options SimLossOptions(std::uint64_t seed, bool rounds, bool trainers, SimLoss loss) {
  SimCluster::Options options = trainers ? SimTrainerOptions(seed, rounds) : SimOptions(seed, rounds);
  Random random(HashCombine(seed, 0x1055));
  options.files = true;
  options.checkpoint_steps = random.Between(2, 8);
  const int times = static_cast<int>(random.Between(1, 3));
  if (loss == SimLoss::kUnsynced || loss == SimLoss::kJournalLost) {
    // (A push that nobody has committed is lost with the worker that was answered, and nobody knows.)
    options.deaths = options.cuts = options.preemptions = options.partitions = options.full_disks = 0;
    options.sick_after.reset();
    options.policy.set_quarantine_after(0);
  }
  switch (loss) {
    case SimLoss::kUnsynced:
      options.power_loss = options.unsynced = true;
      options.ps_deaths = times;
      break;
    case SimLoss::kNoJournal:
      options.journal = false;
      options.ps_deaths = times;
      break;
    case SimLoss::kJournalLost:
      options.damages = times;
      break;
    case SimLoss::kOtherShards:
      options.reshards = times;
      break;
  }
  return options;
}

}  // namespace leeway
