// ToldToEnd: has a `ps` that starts been told to end? Its signals are blocked, and a thread waits for them once it
// serves.
//
// Thread safety: any thread.
#pragma once

namespace leeway {

bool ToldToEnd();

}  // namespace leeway
