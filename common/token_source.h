// TokenSource: the token that this process shows when it calls; its file can be read again while calls go out.
//
// Thread safety: any thread.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/files.h"
#include "common/mutex.h"

namespace leeway {

class TokenSource {
 public:
  // 64 hex digits are usual; fewer than 16 characters can be guessed, and a header's size has a limit.
  static constexpr std::size_t kShortest = 16, kLongest = 512;

  // Errors of the file; INVALID_ARGUMENT: it is not one word of printable ASCII of such a length. Each names the path.
  static absl::StatusOr<std::shared_ptr<TokenSource>> Load(FileSystem& files, const std::string& path);

  // Reads the file again. Not OK: as Load; the token stays.
  absl::Status Reload();

  std::string Bearer() const;  // "Bearer TOKEN"

 private:
  TokenSource(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}

  FileSystem& files_;
  const std::string path_;
  mutable Mutex mu_;
  std::string bearer_ LEEWAY_GUARDED_BY(mu_);
};

}  // namespace leeway
