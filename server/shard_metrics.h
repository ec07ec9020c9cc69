// What /metrics tells of one shard: the statistics that it sends to the coordinator anyway, its memory, its journal.
//
// Thread safety: any thread.
#pragma once

#include "common/atomic_histogram.h"
#include "common/metrics.h"
#include "server/journal.h"
#include "server/shard.h"

namespace leeway {

// A histogram of whole numbers in the buckets that /metrics has for steps.
HistogramCounts StepCounts(const v1::Histogram& histogram);

// `journal`: null where there is none.
void AddShardMetrics(Shard* shard, Journal* journal, MetricsPage* page);

}  // namespace leeway
