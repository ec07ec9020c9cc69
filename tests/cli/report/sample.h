// A status as a real run's might be: four workers, one of them slow, two shards, ten evaluations.
#pragma once

#include "cli/report/facts.h"
#include "proto/coordinator.pb.h"

namespace leeway {

v1::GetStatusReply SampleStatus();
RunFacts SampleFacts();

}  // namespace leeway
