// Shard: what became of the pushes of those who are members no more.
#include <utility>

#include "server/shard.h"

namespace leeway {

const PushWindow* Shard::WindowOf(const v1::Stamp& stamp) const {
  const auto member = members_.find(stamp.worker_id());
  if (member != members_.end() && member->second.proto.incarnation() == stamp.incarnation()) {
    return &member->second.window;
  }
  return departed_.Find(stamp.incarnation());
}

bool Shard::AnswerDeparted(Held& held, Actions* actions) {
  const v1::PushRequest& header = held.push->message;
  const PushWindow* window = departed_.Find(header.stamp().incarnation());
  if (window == nullptr || header.stamp().run_id() != run_id_ || header.null_verdict() != v1::VERDICT_NONE)
    return false;
  const PushWindow::Seen seen = window->Look(header.clock(), header.chunk());
  switch (seen.state) {
    case PushWindow::Seen::kFresh:
      return false;
    case PushWindow::Seen::kApplying:
      duplicates_[{header.stamp().incarnation(), header.clock(), header.chunk()}].push_back(std::move(held.done));
      break;
    case PushWindow::Seen::kDone:
      actions->push_back(
          [done = std::move(held.done), reply = PushReplyFor(header, seen.verdict, true)] { Reply(done, reply); });
      break;
  }
  stats_.set_chunks_duplicate(stats_.chunks_duplicate() + 1);
  return true;
}

}  // namespace leeway
