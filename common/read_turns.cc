#include "common/read_turns.h"

#include <algorithm>

namespace leeway {

ReadTurns::Answer ReadTurns::Arrive(const std::string& connection, PayloadCall* call) {
  const auto [it, idle] = waiting_.try_emplace(connection);
  if (idle) return Answer::kRead;
  if (it->second.size() >= kWaiting) return Answer::kRefuse;
  it->second.push_back(call);
  return Answer::kWait;
}

PayloadCall* ReadTurns::Done(const std::string& connection) {
  const auto it = waiting_.find(connection);
  if (it->second.empty()) {
    waiting_.erase(it);
    return nullptr;
  }
  PayloadCall* next = it->second.front();
  it->second.pop_front();
  return next;
}

bool ReadTurns::Forget(const std::string& connection, const PayloadCall* call) {
  const auto it = waiting_.find(connection);
  if (it == waiting_.end()) return false;
  const auto found = std::find(it->second.begin(), it->second.end(), call);
  if (found == it->second.end()) return false;
  it->second.erase(found);
  return true;
}

}  // namespace leeway
