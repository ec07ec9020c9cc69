#include "common/file_watch.h"

#include <signal.h>
#include <sys/stat.h>

#include <chrono>
#include <utility>

namespace leeway {

FileWatch::FileWatch(std::vector<Entry> entries, absl::Duration interval)
    : entries_(std::move(entries)), interval_(interval), stamps_(entries_.size()) {
  // Signals are for threads that expect them; this one may be older than the process's own mask.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Loop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

FileWatch::~FileWatch() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    stop_.NotifyAll();
  }
  thread_.join();
}

FileWatch::Stamp FileWatch::Look(const std::string& path) {
  struct stat is {};
  if (stat(path.c_str(), &is) != 0) return {};
  return {is.st_dev, is.st_ino, static_cast<std::uint64_t>(is.st_size), is.st_mtim.tv_sec, is.st_mtim.tv_nsec};
}

void FileWatch::Loop() {
  for (bool first = true;; first = false) {
    {
      MutexLock lock(mu_);
      const auto until = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(interval_);
      while (!stopping_ && std::chrono::steady_clock::now() < until) stop_.WaitUntil(mu_, until);
      if (stopping_) return;
    }
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      std::vector<Stamp> now;
      for (const std::string& path : entries_[i].paths) now.push_back(Look(path));
      if (now == stamps_[i]) continue;
      stamps_[i] = std::move(now);  // before they are read: what changes meanwhile is seen the next time
      if (!entries_[i].on_change(first)) stamps_[i].clear();
    }
  }
}

}  // namespace leeway
