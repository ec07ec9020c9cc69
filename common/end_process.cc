#include "common/end_process.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>

namespace leeway {

void EndProcess(int code) {
  spdlog::default_logger()->flush();
  std::fflush(nullptr);
  _exit(code);
}

}  // namespace leeway
