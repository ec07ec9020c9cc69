#include "common/authorizer.h"

#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr char kBearer[] = "Bearer ";

}  // namespace

absl::StatusOr<std::shared_ptr<Authorizer>> Authorizer::Load(FileSystem& files, const std::string& path) {
  std::shared_ptr<Authorizer> authorizer(new Authorizer(files, path));
  RETURN_IF_ERROR(authorizer->Reload());
  return authorizer;
}

absl::Status Authorizer::Reload() {
  ASSIGN_OR_RETURN(const std::string text, files_.Read(path_));
  absl::StatusOr<TokenTable> table = TokenTable::Parse(text);
  if (!table.ok()) {
    return absl::Status(table.status().code(), absl::StrCat(path_, ": ", table.status().message()));
  }
  auto fresh = std::make_shared<const TokenTable>(*std::move(table));
  MutexLock lock(mu_);
  table_ = std::move(fresh);
  return absl::OkStatus();
}

absl::Status Authorizer::Check(Role least, absl::string_view what, absl::string_view token, absl::string_view from) {
  if (token.empty()) {
    return Refuse(absl::UnauthenticatedError(absl::StrCat(what, " needs a token of role ", RoleName(least),
                                                          " (--token_file), and none was sent")),
                  from);
  }
  std::shared_ptr<const TokenTable> table;
  {
    MutexLock lock(mu_);
    table = table_;
  }
  const TokenTable::Holder* holder = table->Find(token);
  if (holder == nullptr) {
    return Refuse(absl::UnauthenticatedError(absl::StrCat(what, " needs a token of role ", RoleName(least),
                                                          ", and the one that was sent is not known")),
                  from);
  }
  if (holder->role < least) {
    return Refuse(
        absl::PermissionDeniedError(absl::StrCat(what, " needs a token of role ", RoleName(least), "; that of ",
                                                 holder->name, " is of role ", RoleName(holder->role))),
        from);
  }
  return absl::OkStatus();
}

absl::Status Authorizer::Refuse(absl::Status why, absl::string_view from) {
  MutexLock lock(mu_);
  const Instant now{std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1)};
  if (refused_.Due(now)) {
    spdlog::warn("refused, from {} ({} more since the last line): {}", from, refused_.skipped(), why);
  }
  return why;
}

absl::string_view BearerToken(absl::string_view authorization) {
  return absl::StartsWithIgnoreCase(authorization, kBearer) ? authorization.substr(sizeof(kBearer) - 1) : "";
}

}  // namespace leeway
