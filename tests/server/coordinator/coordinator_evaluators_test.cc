// Coordinator through Handle(): evaluators of one run have the same test set.
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/catch.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/support/crash_files.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

v1::JoinRequest EvaluatorOf(const CoordinatorFixture& f, const std::string& name, std::uint64_t incarnation,
                            std::uint64_t records, std::uint64_t fingerprint) {
  v1::JoinRequest join = f.JoinOf(name, incarnation);
  join.set_role(v1::EVALUATOR);
  join.mutable_data()->set_num_records(records);
  join.mutable_data()->set_fingerprint(fingerprint);
  return join;
}

absl::Status JoinAndSync(CoordinatorFixture& f, const v1::JoinRequest& request) {
  const auto answer = f.Join(request);
  f.SyncShards();
  REQUIRE(answer->done());
  REQUIRE_FALSE(answer->message.has_not_yet());
  return answer->status;
}

TEST_CASE("Coordinator: an evaluator with another test set than the first one's is refused, with both values") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  // Its data are no matter of the training set's (100 records, d).
  REQUIRE(JoinAndSync(f, EvaluatorOf(f, "e", 1, 20, 0xe)).ok());
  CHECK(Says(JoinAndSync(f, EvaluatorOf(f, "f", 2, 21, 0xe)), Code::kFailedPrecondition,
             {"the number of test records is 21", "20 in this cluster"}));
  CHECK(Says(JoinAndSync(f, EvaluatorOf(f, "f", 3, 20, 0xf)), Code::kFailedPrecondition,
             {"the test set's fingerprint is 15", "14 in this cluster"}));
  CHECK(JoinAndSync(f, EvaluatorOf(f, "f", 4, 20, 0xe)).ok());
  CHECK(JoinAndSync(f, f.JoinOf("w1", 5)).ok());  // nor is the training set compared with it
}

TEST_CASE("Coordinator: of two evaluators that wait for the run to begin, the first one's test set counts") {
  CoordinatorFixture f(LeasedPolicy(1));
  const auto first = f.Join(EvaluatorOf(f, "e", 1, 20, 0xe));
  const auto second = f.Join(EvaluatorOf(f, "f", 2, 20, 0xf));
  CHECK_FALSE(second->done());
  f.Start(1);
  CHECK(first->ok());
  CHECK(Says(second->status, Code::kFailedPrecondition, {"the test set's fingerprint is 15", "14 in this cluster"}));
}

TEST_CASE("Coordinator: an evaluator of a version that does not tell its test set is let in, and decides nothing") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  REQUIRE(JoinAndSync(f, EvaluatorOf(f, "old", 1, 0, 0)).ok());
  REQUIRE(JoinAndSync(f, EvaluatorOf(f, "e", 2, 20, 0xe)).ok());
  CHECK(JoinAndSync(f, EvaluatorOf(f, "old2", 3, 0, 0)).ok());
  CHECK(absl::IsFailedPrecondition(JoinAndSync(f, EvaluatorOf(f, "f", 4, 20, 0xf))));
}

TEST_CASE("Coordinator: an evaluator that is out stays an evaluator in the status") {
  CoordinatorFixture f(LeasedPolicy(1));
  f.Start(1);
  REQUIRE(JoinAndSync(f, EvaluatorOf(f, "e", 1, 20, 0xe)).ok());
  f.Advance(absl::Seconds(11));
  REQUIRE(f.Status().workers_size() == 2);
  CHECK(f.Status().workers(1).state() == "expired");
  CHECK(f.Status().workers(1).role() == v1::EVALUATOR);
}

TEST_CASE("Coordinator: after a restart an evaluator's test set is still compared") {
  CrashFiles files(1);
  {
    CoordinatorFixture f(LeasedPolicy(1), 1, &files);
    f.Start(1);
    REQUIRE(JoinAndSync(f, EvaluatorOf(f, "e", 1, 20, 0xe)).ok());
    f.Leave(1);
  }
  files.Restart(CrashFiles::Loss::kPower);
  CoordinatorFixture f(LeasedPolicy(1), 1, &files);
  f.SyncShards();
  CHECK(Says(JoinAndSync(f, EvaluatorOf(f, "e", 2, 20, 0xf)), Code::kFailedPrecondition,
             {"the test set's fingerprint is 15", "14 in this cluster"}));
  CHECK(JoinAndSync(f, EvaluatorOf(f, "e", 3, 20, 0xe)).ok());
}

}  // namespace
}  // namespace leeway
