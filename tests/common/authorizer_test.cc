// Who is let in, in which words others are refused, and what happens when the files of tokens change.
#include "common/authorizer.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/file_watch.h"
#include "common/token_source.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"
#include "tests/support/temp_directory.h"
#include "tests/support/tokens.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

std::shared_ptr<Authorizer> Load(const std::string& path) { return Authorizer::Load(RealFileSystem(), path).value(); }

TEST_CASE("authorizer: each role may do what it may, and is told when not") {
  const TempDirectory folder;
  const auto authorizer = Load(folder.Write("tokens", kTokensFile));
  const struct {
    const char* method;
    bool observer, worker;
  } rows[] = {{"Coordinator/GetStatus", true, true},
              {"ParameterServer/Push", false, true},
              {"Coordinator/Checkpoint", false, false}};
  for (const auto& row : rows) {
    CAPTURE(row.method);
    const auto check = [&](const char* token) { return authorizer->CheckMethod(row.method, token, "test"); };
    CHECK(check(kAdminToken) == absl::OkStatus());
    CHECK(check(kWorkerToken).ok() == row.worker);
    CHECK(check(kObserverToken).ok() == row.observer);
    CHECK(Says(check(""), Code::kUnauthenticated, {row.method, "role", "--token_file"}));
    CHECK(Says(check("token-of-a-stranger"), Code::kUnauthenticated, {row.method, "not known"}));
  }
  CHECK(Says(authorizer->CheckMethod("Coordinator/Checkpoint", kWorkerToken, "test"), Code::kPermissionDenied,
             {"Coordinator/Checkpoint", "role admin", "line 4", "role worker"}));
}

TEST_CASE("authorizer: a new file counts, a wrong one does not") {
  const TempDirectory folder;
  const std::string path = folder.Write("tokens", kTokensFile);
  const auto authorizer = Load(path);
  const auto admin = [&] { return authorizer->CheckMethod("Coordinator/Checkpoint", kAdminToken, "test"); };
  folder.Write("tokens", "admin nonsense");
  CHECK(Says(authorizer->Reload(), Code::kInvalidArgument, {path.c_str(), "line 1"}));
  CHECK(admin() == absl::OkStatus());
  folder.Write("tokens", absl::StrCat("worker ", std::string(64, 'a')));
  CHECK(authorizer->Reload() == absl::OkStatus());
  CHECK(absl::IsUnauthenticated(admin()));
  CHECK(Says(Authorizer::Load(RealFileSystem(), folder / "none").status(), Code::kNotFound, {"none"}));
}

TEST_CASE("authorizer: the token of a header") {
  CHECK(BearerToken("Bearer abc") == "abc");
  CHECK(BearerToken("bearer abc") == "abc");
  CHECK(BearerToken("Basic abc").empty());
  CHECK(BearerToken("Bearer").empty());
  CHECK(BearerToken("").empty());
}

TEST_CASE("token source: one word, and again when its file changes") {
  const TempDirectory folder;
  const std::string path = folder.Write("token", absl::StrCat(kWorkerToken, "\n"));
  const auto source = TokenSource::Load(RealFileSystem(), path).value();
  CHECK(source->Bearer() == absl::StrCat("Bearer ", kWorkerToken));
  folder.Write("token", kAdminToken);
  CHECK(source->Reload() == absl::OkStatus());
  CHECK(BearerToken(source->Bearer()) == kAdminToken);
  const std::string long_enough(TokenSource::kShortest, 'x');
  for (const std::string& wrong :
       {std::string(), std::string("short"), long_enough + " " + long_enough, long_enough + "\r\nauthorization: Bearer",
        std::string(TokenSource::kLongest + 1, 'x'), long_enough + "\x80"}) {
    folder.Write("token", wrong);
    CHECK(Says(source->Reload(), Code::kInvalidArgument, {path.c_str(), "16 to 512"}));
    CHECK(BearerToken(source->Bearer()) == kAdminToken);
  }
}

// Counts calls, and waits for the next one.
class Changes {
 public:
  bool Note(bool first) {
    MutexLock lock(mu_);
    ++count_;
    if (first) ++first_;
    changed_.NotifyAll();
    return true;
  }
  void Await(int count) {
    MutexLock lock(mu_);
    while (count_ < count) changed_.Wait(mu_);
  }
  int first() {
    MutexLock lock(mu_);
    return first_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  int count_ LEEWAY_GUARDED_BY(mu_) = 0;
  int first_ LEEWAY_GUARDED_BY(mu_) = 0;  // of them, at a first look
};

TEST_CASE("file watch: a first look, then every replacement, removal and return of any of the files") {
  const TempDirectory folder;
  const std::string a = folder.Write("a", "1"), b = folder.Write("b", "1");
  Changes changes, others;
  const FileWatch watch({{{a, b}, [&](bool first) { return changes.Note(first); }},
                         {{folder / "c"}, [&](bool first) { return others.Note(first); }}},
                        absl::Milliseconds(1));
  changes.Await(1);
  folder.Write("b", "2");  // as long, under the same name
  changes.Await(2);
  std::filesystem::remove(a);
  changes.Await(3);
  folder.Write("a", "1");
  changes.Await(4);
  // Through a symbolic link, as Kubernetes does it.
  folder.Write("elsewhere", "1");
  std::filesystem::create_symlink("elsewhere", folder / "link.new");
  std::filesystem::rename(folder / "link.new", a);
  changes.Await(5);
  folder.Write("c", "1");  // it was not there
  others.Await(2);
  CHECK(changes.first() == 1);
  CHECK(others.first() == 1);
}

TEST_CASE("file watch: who could not use what is there is asked again, though nothing has changed") {
  const TempDirectory folder;
  Changes tries;
  int wanted = 3;
  const FileWatch watch({{{folder.Write("a", "1")}, [&](bool first) { return tries.Note(first) && --wanted == 0; }}},
                        absl::Milliseconds(1));
  tries.Await(3);
  folder.Write("a", "2");
  tries.Await(4);
  CHECK(tries.first() == 1);
}

}  // namespace
}  // namespace leeway
