#include "common/read_turns.h"

#include <algorithm>

namespace leeway {

ReadTurns::Answer ReadTurns::Arrive(const std::string& connection, PayloadCall* call) {
  Connection& state = connections_[connection];
  if (state.reading < kReading) {
    ++state.reading;
    ++reading_;
    return Answer::kRead;
  }
  if (state.waiting.size() >= kWaiting) return Answer::kRefuse;
  state.waiting.push_back(call);
  return Answer::kWait;
}

PayloadCall* ReadTurns::Done(const std::string& connection) {
  const auto it = connections_.find(connection);
  Connection& state = it->second;
  if (!state.waiting.empty()) {
    PayloadCall* next = state.waiting.front();
    state.waiting.pop_front();
    return next;  // in the place of the one that is done
  }
  --reading_;
  if (--state.reading == 0) connections_.erase(it);
  return nullptr;
}

bool ReadTurns::Forget(const std::string& connection, const PayloadCall* call) {
  const auto it = connections_.find(connection);
  if (it == connections_.end()) return false;
  std::deque<PayloadCall*>& waiting = it->second.waiting;
  const auto found = std::find(waiting.begin(), waiting.end(), call);
  if (found == waiting.end()) return false;
  waiting.erase(found);
  return true;
}

}  // namespace leeway
