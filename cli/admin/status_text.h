// What `leeway status`, `workers` and `set` print of a cluster's status: tables for people, JSON for programs.
//
// Thread safety: pure functions.
#pragma once

#include <string>

#include "proto/coordinator.pb.h"

namespace leeway {

// The run, its policy, its workers, its ps and the newest events.
std::string StatusText(const v1::GetStatusReply& status);
std::string StatusJson(const v1::GetStatusReply& status);

std::string WorkersText(const v1::GetStatusReply& status);
std::string WorkersJson(const v1::GetStatusReply& status);  // a list

// What can be changed while the run goes on, and what it is.
std::string PolicyText(const v1::Policy& policy);
std::string PolicyJson(const v1::Policy& policy);  // {"number": 2, "settings": {"staleness_bound": 8, ...}}

}  // namespace leeway
