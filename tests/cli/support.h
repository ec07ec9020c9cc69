// What tests of real processes share.
//
// Thread safety: pure functions but for the files and processes that they look at.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace leeway {

// A path in the test's temporary folder that no other test process uses.
std::string TemporaryPath(const std::string& name);

std::string ReadWholeFile(const std::string& path);  // "" when it cannot be read

// The number that a process wrote to `path`, or 0 while there is none.
pid_t ReadPid(const std::string& path);

// Gone, or dead and waiting for whichever process inherited it to reap it.
bool IsDead(pid_t pid);

// True once `condition` holds; false after 20 s without.
bool Eventually(const std::function<bool()>& condition);

}  // namespace leeway
