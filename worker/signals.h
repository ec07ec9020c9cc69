// SignalWatcher: SIGTERM and SIGINT as a polite request first, and an order the second time.
//
// Construct it before any other thread exists: it blocks both signals in the constructing thread, whose children
// inherit that, and reads them on a thread of its own.
//
// Thread safety: `on_first` runs on the watcher's thread.
#pragma once

#include <functional>
#include <thread>

namespace leeway {

class SignalWatcher {
 public:
  // The first signal calls `on_first`; the second ends the process at once, as if nobody watched.
  explicit SignalWatcher(std::function<void()> on_first);
  ~SignalWatcher();

 private:
  void Loop();

  const std::function<void()> on_first_;
  int signals_ = -1;  // signalfd
  int stop_ = -1;     // eventfd
  std::thread thread_;
};

}  // namespace leeway
