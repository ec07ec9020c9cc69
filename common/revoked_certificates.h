// RevokedCertificates: certificates that count no more, though their authority still vouches for them: stolen, or of
// somebody who has left. A file names them, and can be read again while calls come.
//
// One a line: the certificate's SHA-256 fingerprint as `openssl x509 -noout -fingerprint -sha256` prints it (64 hex
// digits, with or without colons), then anything; # begins a comment. A file that names none is good: none is revoked.
//
// Thread safety: any thread. A check takes some microseconds and never waits for a file.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/files.h"
#include "common/mutex.h"

namespace leeway {

class RevokedCertificates {
 public:
  // Errors of the file; INVALID_ARGUMENT: a line begins with no fingerprint. Each names the path.
  static absl::StatusOr<std::shared_ptr<RevokedCertificates>> Load(FileSystem& files, const std::string& path);

  // Reads the file again. Not OK: as Load; what was known stays.
  absl::Status Reload();

  // UNAUTHENTICATED names the fingerprint of the first certificate in `pem`, if it is revoked or is none.
  absl::Status Check(const std::string& pem);

 private:
  RevokedCertificates(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}

  FileSystem& files_;
  const std::string path_;
  Mutex mu_;
  std::set<std::string> fingerprints_ LEEWAY_GUARDED_BY(mu_);  // in lower case, without colons
};

}  // namespace leeway
