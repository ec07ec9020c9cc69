// Authorizer: lets a call pass or not, by the token that came with it. Its table of tokens can be read again while
// calls come.
//
// Thread safety: any thread. A check takes a microsecond or two and never waits for a file.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files.h"
#include "common/log_every.h"
#include "common/mutex.h"
#include "common/roles.h"
#include "common/token_table.h"

namespace leeway {

class Authorizer {
 public:
  // `path`: a TokenTable's file. Errors of the file, and of Parse; each names the path.
  static absl::StatusOr<std::shared_ptr<Authorizer>> Load(FileSystem& files, const std::string& path);

  // Reads the file again. Not OK: as Load; what was known stays.
  absl::Status Reload();

  // UNAUTHENTICATED: no token, or nobody's; PERMISSION_DENIED: its role is less than `least`. `what` is asked for, and
  // `from` asks: for the message and the log.
  absl::Status Check(Role least, absl::string_view what, absl::string_view token, absl::string_view from);
  absl::Status CheckMethod(absl::string_view method, absl::string_view token, absl::string_view from) {
    return Check(LeastRole(method), method, token, from);
  }

 private:
  Authorizer(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}
  absl::Status Refuse(absl::Status why, absl::string_view from);

  FileSystem& files_;
  const std::string path_;
  Mutex mu_;
  std::shared_ptr<const TokenTable> table_ LEEWAY_GUARDED_BY(mu_);
  LogEvery refused_ LEEWAY_GUARDED_BY(mu_){absl::Seconds(10)};  // strangers must not fill the log
};

// The token of an "authorization" header's value, "Bearer TOKEN"; "" when it is none.
absl::string_view BearerToken(absl::string_view authorization);

}  // namespace leeway
