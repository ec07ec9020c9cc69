// Both ends of --checkpoint_storage=own over a network that loses, repeats and delays: a shard's files are brought to
// shard 0 and read from there.
#include "server/own_storage.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/executor.h"
#include "common/retry.h"
#include "server/checkpoint/checkpoint_directory.h"
#include "server/checkpoint/checkpoint_reader.h"
#include "server/checkpoint/verify_checkpoint.h"
#include "server/checkpoint_store.h"
#include "tests/catch.h"
#include "tests/server/checkpoint/checkpoint_fixture.h"
#include "tests/support/answer.h"
#include "tests/support/crash_files.h"
#include "tests/support/pumped_executor.h"
#include "tests/support/status_check.h"
#include "tests/support/store_transport.h"

namespace leeway {
namespace {

constexpr char kAddress[] = "ps-0:1";
constexpr MadeUp kMade{.elements = 5 << 20, .num_shards = 2, .slots = 1, .step = 7};

using Fault = StoreTransport::Fault;

bool GoOn() { return true; }

// Shard 0's folder and its store; shard 1's folder, from which its two files are brought.
struct Fixture {
  CrashFiles kept{1};
  CrashFiles own{2};
  std::unique_ptr<Executor> executor = MakeThreadPool(1);
  CheckpointStore store{"dir", &kept, executor.get()};
  StoreTransport transport;
  CheckpointCalls calls{{kAddress, 1}, &transport};
  RemoteCheckpoints remote{&calls, GoOn};
  CheckpointUpload upload{&own, &calls};
  v1::CheckpointIndex index = MadeUpIndex(kMade);
  std::vector<v1::CheckpointFile> written;

  explicit Fixture(StoreTransport::Faults faults = StoreTransport::NoFaults()) : transport(&store, std::move(faults)) {
    REQUIRE(kept.MakeDirectories("dir/step-00000007").ok());
    REQUIRE(WriteShard(kept, "dir/step-00000007", kMade, 0, &index).ok());
    REQUIRE(own.MakeDirectories("out").ok());
    REQUIRE(WriteShard(own, "out", kMade, 1, &index).ok());
    written = {index.files(2), index.files(3)};
    Follow(9);
  }
  ~Fixture() { executor->Stop(); }

  void Follow(std::uint64_t id) {
    v1::Cut cut;
    cut.set_id(id);
    cut.set_name("step-00000007");
    store.UnderWay(cut, Placement::Make(kMade.elements, kMade.num_shards).value());
  }
  absl::Status Bring(const std::function<bool()>& go_on = GoOn) { return upload.Bring(9, 1, "out", written, go_on); }
};

TEST_CASE("A checkpoint is brought, committed, and read again on any number of shards, whatever is lost on the way") {
  // Of every six calls three go wrong, each in its own way.
  Fixture f([](int call, const std::string&) {
    return call % 6 == 1   ? Fault::kLostRequest
           : call % 6 == 2 ? Fault::kLostReply
           : call % 6 == 4 ? Fault::kTwice
                           : Fault::kNone;
  });
  REQUIRE(f.written[0].piece_crc32c_size() == 6);
  REQUIRE(f.Bring().ok());
  CHECK(f.transport.calls() > 8);
  REQUIRE(CommitCheckpoint(f.kept, "dir/step-00000007", f.index).ok());
  f.Follow(0);
  CHECK(VerifyCheckpoint(f.kept, "dir/step-00000007").empty());

  const auto all = ListCheckpoints(f.remote, f.remote.root(), CheckpointCheck::kContents);
  REQUIRE(all.ok());
  REQUIRE(all->size() == 1);
  CHECK(all->front().status.ok());
  CHECK(all->front().path == "ps-0:1/step-00000007");
  for (const std::uint32_t shards : {1u, 2u, 3u}) {
    const auto reader = CheckpointReader::Open(f.remote, all->front().path);
    REQUIRE(reader.ok());
    CHECK(CheckMadeUp(**reader, kMade, shards).ok());
  }
}

TEST_CASE("What the shard's own disk has spoilt is found by shard 0") {
  Fixture f;
  std::string& bytes = f.own.Bytes("out/" + f.written[0].name());
  bytes[bytes.size() / 2] ^= 1;
  CHECK(Says(f.Bring(), absl::StatusCode::kDataLoss, {"is damaged"}));
  CHECK_FALSE(f.kept.Exists("dir/step-00000007/" + f.written[0].name()));
}

TEST_CASE("What ends the checkpoint ends the bringing: it is given up in the middle") {
  int brought = 0;
  Fixture* now = nullptr;
  Fixture f([&](int, const std::string& method) {
    if (method == "Write" && ++brought == 3) now->Follow(0);
    return Fault::kNone;
  });
  now = &f;
  CHECK(Says(f.Bring(), absl::StatusCode::kFailedPrecondition, {"cut 9 is not under way"}));
  CHECK(brought == 3);
  f.executor->Stop();
  CHECK(f.kept.List("dir/step-00000007").value().size() == 2);  // shard 0's
}

TEST_CASE("What ends the ps ends the bringing") {
  std::atomic<int> asked = 0;
  Fixture f([](int, const std::string&) { return Fault::kLostRequest; });
  CHECK(absl::IsCancelled(f.Bring([&] { return ++asked < 5; })));
}

TEST_CASE("A full disk at shard 0 is no reason to try again") {
  Fixture f;
  f.kept.SetCapacity(30 << 20);
  CHECK(Says(f.Bring(), absl::StatusCode::kAborted, {"ps 0", "no space"}));
  CHECK(f.transport.calls() == 1);
}

TEST_CASE("Who reads has the checkpoints' directories, and nothing else") {
  Fixture f;
  REQUIRE(WriteAtomically(f.kept, "dir/coordinator/secret", "x").ok());
  REQUIRE(WriteAtomically(f.kept, "outside", "x").ok());
  CHECK(f.remote.List(f.remote.root()).value() == std::vector<std::string>{"step-00000007"});
  CHECK(f.remote.List("ps-0:1/step-00000007").value().size() == 2);
  CHECK(absl::IsNotFound(f.remote.Read("ps-0:1/step-00000007/COMMITTED").status()));
  CHECK_FALSE(f.remote.Exists("ps-0:1/step-00000007/COMMITTED"));
  const auto none = [&](const absl::Status& status) { CHECK(absl::IsInvalidArgument(status)); };
  none(f.remote.Read("ps-0:1/coordinator/secret").status());
  none(f.remote.Read("ps-0:1/../outside").status());
  none(f.remote.Read("ps-0:1/step-00000007/..").status());
  none(f.remote.Read("ps-0:1/step-00000007/../coordinator/secret").status());
  none(f.remote.Read("elsewhere/step-00000007/COMMITTED").status());
  none(f.remote.List("ps-0:1/coordinator").status());
  none(f.remote.List("ps-0:1/..").status());
  none(f.remote.List("ps-0:1/step-7").status());
  const auto ask = [&](const v1::ReadCheckpointRequest& request) {
    auto answer = std::make_shared<Answer<v1::ReadCheckpointReply>>();
    f.store.Handle("Read", EncodeMessage(request), FillIn(answer));
    f.remote.List(f.remote.root()).IgnoreError();  // comes behind it
    return answer->status;
  };
  v1::ReadCheckpointRequest request;
  request.set_directory("step-00000007");
  request.set_file(f.index.files(0).name());
  request.set_size(4 << 20);
  CHECK(ask(request).ok());
  request.set_offset(UINT64_MAX);
  CHECK(ask(request).ok());  // nothing is there
  request.set_size((4 << 20) + 1);
  none(ask(request));
  request.set_size(1);
  request.set_file("../step-00000007/" + f.index.files(0).name());
  none(ask(request));
  request.set_file(std::string("COMMITTED\0x", 11));
  none(ask(request));
  // Nor does anybody change anything.
  CHECK(absl::IsPermissionDenied(RevokeCheckpoint(f.remote, "ps-0:1/step-00000007")));
  CHECK(absl::IsPermissionDenied(f.remote.Create("ps-0:1/step-00000007/x").status()));
}

TEST_CASE("A reader who is told less than he asked for has damage, not rubbish") {
  Fixture f;
  const std::string path = "ps-0:1/step-00000007/" + f.index.files(0).name();
  const auto file = f.remote.Open(path);
  REQUIRE(file.ok());
  CHECK((*file)->Size() == f.index.files(0).bytes());
  f.kept.Bytes("dir/step-00000007/" + f.index.files(0).name()).resize(1000);
  std::vector<char> bytes(2000);
  CHECK(absl::IsDataLoss((*file)->ReadAt(0, bytes.size(), bytes.data())));
}

TEST_CASE("The store serves so many calls at once, and a piece counts until it is sent") {
  CrashFiles files(1);
  PumpedExecutor executor;
  CheckpointStore store("dir", &files, &executor);
  REQUIRE(WriteAtomically(files, "dir/step-00000007/file", "0123456789").ok());
  v1::ReadCheckpointRequest request;
  request.set_directory("step-00000007");
  request.set_file("file");
  request.set_size(10);
  std::vector<Buffer> replies;
  std::vector<absl::Status> refused;
  const auto ask = [&] {
    store.Handle("Read", EncodeMessage(request), [&](const absl::Status& status, const Buffer& reply) {
      if (status.ok()) {
        replies.push_back(reply);
      } else {
        refused.push_back(status);
      }
    });
  };
  for (int i = 0; i < CheckpointStore::kMostCalls; ++i) ask();
  CHECK(refused.empty());
  ask();
  REQUIRE(refused.size() == 1);
  CHECK(absl::IsResourceExhausted(refused[0]));
  CHECK(RetryAfter(refused[0]) > absl::ZeroDuration());
  executor.RunAll();
  CHECK(replies.size() == CheckpointStore::kMostCalls);
  ask();
  CHECK(refused.size() == 2);  // they are not sent yet
  replies.pop_back();
  ask();
  executor.RunAll();
  CHECK(refused.size() == 2);
  CHECK(replies.size() == CheckpointStore::kMostCalls);
}

PsOptions OptionsOf(absl::Duration start_timeout) {
  PsOptions options;
  options.shard_index = 1;
  options.num_shards = 2;
  options.coordinator = kAddress;
  options.checkpoint_dir = "mine";
  options.own_storage = true;
  options.start_timeout = start_timeout;
  return options;
}

TEST_CASE("A start waits for shard 0, and no longer than it may") {
  Fixture late([](int call, const std::string&) { return call < 3 ? Fault::kLostRequest : Fault::kNone; });
  CHECK(OwnStorage::Open(OptionsOf(absl::Minutes(1)), &late.own, &late.transport).ok());

  Fixture never([](int, const std::string&) { return Fault::kLostRequest; });
  CHECK(Says(OwnStorage::Open(OptionsOf(absl::Milliseconds(1)), &never.own, &never.transport).status(),
             absl::StatusCode::kDeadlineExceeded, {kAddress, "no answer within 1ms", "the request is lost"}));
  PsOptions ends = OptionsOf(absl::Minutes(1));
  int asked = 0;
  ends.told_to_end = [&] { return ++asked > 3; };
  CHECK(absl::IsCancelled(OwnStorage::Open(ends, &never.own, &never.transport).status()));
}

TEST_CASE("A shard 0 of before says so, in one line") {
  class Old final : public Transport {
    void Call(const std::string&, const std::string&, Buffer, absl::Duration, ReplyCallback done) override {
      done(absl::UnimplementedError("no method"), {});
    }
  } old;
  CrashFiles files(1);
  CHECK(Says(OwnStorage::Open(OptionsOf(absl::Minutes(1)), &files, &old).status(),
             absl::StatusCode::kFailedPrecondition, {kAddress, "--checkpoint_storage=own needs a newer one"}));
}

TEST_CASE("A start removes what an earlier process was bringing, and nothing of other shards") {
  Fixture f;
  for (const char* path : {"mine/outgoing/shard-00001/cut-9/x.safetensors", "mine/outgoing/shard-00002/cut-9/x",
                           "mine/step-00000001/COMMITTED"}) {
    REQUIRE(f.own.MakeDirectories(std::string(path).substr(0, std::string(path).rfind('/'))).ok());
    REQUIRE(WriteAtomically(f.own, path, "x").ok());
  }
  REQUIRE(OwnStorage::Open(OptionsOf(absl::Minutes(1)), &f.own, &f.transport).ok());
  CHECK(f.own.List("mine/outgoing/shard-00001").value().empty());
  CHECK(f.own.Exists("mine/outgoing/shard-00002/cut-9/x"));
  CHECK(f.own.Exists("mine/step-00000001/COMMITTED"));
}

}  // namespace
}  // namespace leeway
