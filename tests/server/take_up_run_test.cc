// TakeUpRun: what shard 0 starts from when the coordinator's state is not there.
#include "server/take_up_run.h"

#include <memory>
#include <string>

#include "server/journal.h"
#include "tests/catch.h"
#include "tests/server/checkpoint/checkpoint_fixture.h"
#include "tests/support/crash_files.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pumped_executor.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

using Code = absl::StatusCode;

TEST_CASE("TakeUpRun: journals of a run that no coordinator knows of are refused, with the way out") {
  CrashFiles files(1);
  const auto take_up = [&] { return TakeUpRun(files, "dir", 2, std::nullopt); };
  FakeClock clock;
  PumpedExecutor executor;
  Journal::Options options;
  options.directory = "dir/journal/shard-00001";
  options.header.set_shard_index(1);
  options.header.set_num_shards(2);
  const std::unique_ptr<Journal> journal = *Journal::Open(options, &files, &clock, &executor);
  // A shard that is started before shard 0 begins its journal, too, but has nothing to write yet.
  REQUIRE(take_up().ok());
  CHECK_FALSE(take_up()->has_value());

  v1::JournalRecord record;
  record.mutable_snapshot()->set_run_id(7);
  journal->Append(record);
  executor.RunAll();
  CHECK(Says(take_up().status(), Code::kFailedPrecondition,
             {"dir/journal/shard-00001 is of a run", "missing in dir/coordinator", "use another --checkpoint_dir"}));
  REQUIRE(SaveMadeUp(files, "dir", {5000, 2, 1, 20}).ok());
  const char* const way_out =
      "remove dir/journal (of every ps): then the run goes on from its newest checkpoint, step-00000020";
  CHECK(Says(take_up().status(), Code::kFailedPrecondition, {"missing in dir/coordinator", way_out}));
  std::string& bytes = files.Bytes("dir/journal/shard-00001/00000001.log");
  bytes[bytes.size() / 2] ^= 1;
  CHECK(Says(take_up().status(), Code::kFailedPrecondition, {"missing in dir/coordinator", way_out}));

  // (This checkpoint was made without a coordinator, so that is what is wrong next.)
  REQUIRE(files.Remove("dir/journal/shard-00001/00000001.log").ok());
  CHECK(Says(take_up().status(), Code::kFailedPrecondition, {"step-00000020 holds no coordinator's state"}));
  journal->Stop();
  executor.RunAll();
}

TEST_CASE("TakeUpRun: without a checkpoint another number of ps is refused, with the number that can go on") {
  CrashFiles files(1);
  FileCoordinatorStore::Saved saved;
  saved.state.set_num_shards(3);
  CHECK(TakeUpRun(files, "dir", 3, saved).ok());
  const absl::Status refused = TakeUpRun(files, "dir", 2, saved).status();
  CHECK_THAT(std::string(refused.message()),
             Catch::Contains("no good checkpoint") && Catch::Contains("only --num_shards=3"));
}

}  // namespace
}  // namespace leeway
