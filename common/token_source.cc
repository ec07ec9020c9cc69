#include "common/token_source.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace leeway {

absl::StatusOr<std::shared_ptr<TokenSource>> TokenSource::Load(FileSystem& files, const std::string& path) {
  std::shared_ptr<TokenSource> source(new TokenSource(files, path));
  RETURN_IF_ERROR(source->Reload());
  return source;
}

absl::Status TokenSource::Reload() {
  ASSIGN_OR_RETURN(const std::string text, files_.Read(path_));
  const absl::string_view token = absl::StripAsciiWhitespace(text);
  bool printable = true;
  for (const char c : token) printable = printable && absl::ascii_isgraph(static_cast<unsigned char>(c));
  if (!printable || token.size() < kShortest || token.size() > kLongest) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": allowed: one token of ", kShortest, " to ", kLongest,
                                                   " printable characters, without spaces"));
  }
  MutexLock lock(mu_);
  bearer_ = absl::StrCat("Bearer ", token);
  return absl::OkStatus();
}

std::string TokenSource::Bearer() const {
  MutexLock lock(mu_);
  return bearer_;
}

}  // namespace leeway
