// Security: how this process proves who it is, and whom it lets in. Empty: in the clear, and everybody.
//
// Thread safety: as a struct; what it shares is safe from any thread.
#pragma once

#include <memory>

#include "common/authorizer.h"
#include "common/certificates.h"
#include "common/file_watch.h"
#include "common/revoked_certificates.h"
#include "common/token_source.h"

namespace leeway {

struct Security {
  TlsFiles tls = {};                                 // empty: in the clear
  std::shared_ptr<TokenSource> token = nullptr;      // of this process's own calls; null: they carry none
  std::shared_ptr<Authorizer> authorizer = nullptr;  // null: whoever reaches this process may ask for everything
  // With `tls`: whose certificates count no more, though they are good; null: nobody's.
  std::shared_ptr<RevokedCertificates> revoked = nullptr;
  // In the clear also beyond this machine: listening, and sending a token.
  bool insecure = false;
  std::shared_ptr<FileWatch> watch = nullptr;  // reads the above again when their files change
};

}  // namespace leeway
