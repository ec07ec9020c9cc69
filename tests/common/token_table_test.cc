// Files of tokens, right and wrong; and who has which role.
#include "common/token_table.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"
#include "tests/support/tokens.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

TEST_CASE("tokens: each has its role and its name, and nobody else has any") {
  const absl::StatusOr<TokenTable> table = TokenTable::Parse(kTokensFile);
  REQUIRE(table.ok());
  CHECK(table->size() == 3);
  const TokenTable::Holder* observer = table->Find(kObserverToken);
  REQUIRE(observer != nullptr);
  CHECK(observer->role == Role::kObserver);
  CHECK(observer->name == "grafana");
  REQUIRE(table->Find(kWorkerToken) != nullptr);
  CHECK(table->Find(kWorkerToken)->role == Role::kWorker);
  CHECK(table->Find(kWorkerToken)->name == "line 4");
  REQUIRE(table->Find(kAdminToken) != nullptr);
  CHECK(table->Find(kAdminToken)->role == Role::kAdmin);
  CHECK(table->Find("") == nullptr);
  CHECK(table->Find("token-of-the-admim") == nullptr);
  CHECK(table->Find(absl::StrCat(kAdminToken, "\n")) == nullptr);
  CHECK(table->Find(absl::string_view(kAdminToken, sizeof(kAdminToken))) == nullptr);  // with its zero byte
}

TEST_CASE("tokens: hex in capitals is the same") {
  const std::string text = absl::StrReplaceAll(absl::AsciiStrToUpper(kTokensFile),
                                               {{"OBSERVER", "observer"}, {"WORKER", "worker"}, {"ADMIN", "admin"}});
  const absl::StatusOr<TokenTable> table = TokenTable::Parse(text);
  REQUIRE(table.ok());
  CHECK(table->Find(kAdminToken) != nullptr);
}

TEST_CASE("tokens: a wrong line is named, and no word is told that may be the token") {
  const std::string hash(64, 'a');
  CHECK(Says(TokenTable::Parse("").status(), Code::kInvalidArgument, {"no token"}));
  CHECK(Says(TokenTable::Parse("# admin\n\n").status(), Code::kInvalidArgument, {"no token"}));
  CHECK(Says(TokenTable::Parse("\nroot " + hash).status(), Code::kInvalidArgument, {"line 2", "observer"}));
  CHECK(std::string(TokenTable::Parse("the-token-itself").status().message()).find("the-token") == std::string::npos);
  CHECK(Says(TokenTable::Parse("admin").status(), Code::kInvalidArgument, {"line 1", "SHA-256"}));
  CHECK(Says(TokenTable::Parse("admin " + hash + " a b").status(), Code::kInvalidArgument, {"line 1"}));
  CHECK(Says(TokenTable::Parse("admin " + hash + " a\nworker " + hash).status(), Code::kInvalidArgument,
             {"line 2", "token of a"}));
  for (const std::string& word :
       {std::string("a-token-in-the-clear"), hash + "a", hash.substr(1), hash.substr(1) + "g"}) {
    const absl::Status status = TokenTable::Parse("admin " + word).status();
    CHECK(Says(status, Code::kInvalidArgument, {"line 1", "64 hex digits"}));
    CHECK(std::string(status.message()).find(word) == std::string::npos);
  }
}

TEST_CASE("tokens: whatever a file holds, nobody gets in by it who should not") {
  Random random(TestSeed());
  for (int i = 0; i < 2000; ++i) {
    std::string text = kTokensFile;
    const int changes = 1 + static_cast<int>(random.Below(4));
    for (int c = 0; c < changes; ++c) text[random.Below(text.size())] = static_cast<char>(random.Below(256));
    const absl::StatusOr<TokenTable> table = TokenTable::Parse(text);
    if (!table.ok()) continue;
    CHECK(table->Find("a stranger's token") == nullptr);
    const TokenTable::Holder* observer = table->Find(kObserverToken);
    if (observer != nullptr) CHECK(observer->role == Role::kObserver);
  }
}

}  // namespace
}  // namespace leeway
