// What every process tells of itself: its build, and under the names that all Prometheus clients use its CPU time,
// memory, files and start.
//
// Thread safety: any thread.
#pragma once

#include <string>

#include "common/metrics.h"

namespace leeway {

// `prefix`: "ps" or "worker", of the name PREFIX_build_info.
void AddProcessMetrics(const std::string& prefix, MetricsPage* page);

}  // namespace leeway
