#include "common/read_turns.h"

#include <algorithm>

namespace leeway {

ReadTurns::Answer ReadTurns::Arrive(const std::string& connection, PayloadCall* call) {
  Connection& state = connections_[connection];
  if (MayRead(state)) {  // then none of this connection waits
    ++state.reading;
    ++reading_;
    return Answer::kRead;
  }
  if (state.waiting.size() >= kWaiting) return Answer::kRefuse;
  state.waiting.push_back(call);
  return Answer::kWait;
}

PayloadCall* ReadTurns::Done(const std::string& connection) {
  const auto done = connections_.find(connection);
  --done->second.reading;
  --reading_;
  if (done->second.reading == 0 && done->second.waiting.empty()) connections_.erase(done);
  // First those that read nothing: they may while there is any place, the others only while half of them are free. Of
  // each from the one after the last on, once around.
  for (const bool reads : {false, true}) {
    auto it = connections_.upper_bound(last_);
    for (std::size_t i = 0; i < connections_.size(); ++i, ++it) {
      if (it == connections_.end()) it = connections_.begin();
      Connection& state = it->second;
      if (state.waiting.empty() || (state.reading > 0) != reads || !MayRead(state)) continue;
      PayloadCall* next = state.waiting.front();
      state.waiting.pop_front();
      ++state.reading;
      ++reading_;
      last_ = it->first;
      return next;
    }
  }
  return nullptr;
}

bool ReadTurns::Forget(const std::string& connection, const PayloadCall* call) {
  const auto it = connections_.find(connection);
  if (it == connections_.end()) return false;
  std::deque<PayloadCall*>& waiting = it->second.waiting;
  const auto found = std::find(waiting.begin(), waiting.end(), call);
  if (found == waiting.end()) return false;
  waiting.erase(found);
  if (waiting.empty() && it->second.reading == 0) connections_.erase(it);
  return true;
}

}  // namespace leeway
