// Files of a checkpoint that come in pieces: in any order, again and again, and from callers who mean no good.
#include "server/checkpoint/checkpoint_receiver.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/crc32c.h"
#include "server/checkpoint/checkpoint_index.h"
#include "tests/catch.h"
#include "tests/support/crash_files.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

constexpr std::uint64_t kElements = 5 << 20;  // of the model: 10 MiB for each of two shards, three pieces
constexpr char kStep[] = "dir/step-00000007";
constexpr char kTensors[] = "dir/step-00000007/shard-00001-of-00002.safetensors";

v1::Cut CutOf(std::uint64_t id, const std::string& name = "step-00000007") {
  v1::Cut cut;
  cut.set_id(id);
  cut.set_name(name);
  return cut;
}

struct Fixture {
  CrashFiles files{1};
  const Placement placement = Placement::Make(kElements, 2).value();
  CheckpointReceiver receiver{&files, "dir"};
  std::string contents = std::string(2 * kPieceBytes + 1000, 0);

  Fixture() {
    for (std::size_t i = 0; i < contents.size(); ++i) contents[i] = static_cast<char>(i * i >> 3);
    REQUIRE(MakeDurableDirectories(files, kStep).ok());  // as BeginCheckpoint does
    receiver.Follow(CutOf(9), placement);
  }

  // Piece `number` of shard 1's tensors.
  v1::WriteCheckpointRequest Piece(std::uint64_t number) const {
    v1::WriteCheckpointRequest piece;
    piece.set_cut(9);
    piece.set_shard_index(1);
    piece.set_bytes(contents.size());
    piece.set_crc32c(Crc32c(contents.data(), contents.size()));
    piece.set_offset(number * kPieceBytes);
    const std::string bytes = BytesOf(piece);
    piece.set_piece_crc32c(Crc32c(bytes.data(), bytes.size()));
    return piece;
  }
  std::string BytesOf(const v1::WriteCheckpointRequest& piece) const {
    return contents.substr(std::min<std::uint64_t>(piece.offset(), contents.size()), kPieceBytes);
  }
  absl::StatusOr<bool> Write(const v1::WriteCheckpointRequest& piece) {
    return receiver.Write(piece, Buffer::FromString(BytesOf(piece)));
  }
  absl::StatusOr<bool> Write(std::uint64_t number) { return Write(Piece(number)); }
  std::vector<std::string> Names() { return files.List(kStep).value_or(std::vector<std::string>()); }
};

TEST_CASE("A file is put together of pieces in whatever order and number they come") {
  std::vector<std::uint64_t> order = {0, 1, 2};
  do {
    Fixture f;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const absl::StatusOr<bool> complete = f.Write(order[i]);
      REQUIRE(complete.ok());
      CHECK(*complete == (i == 2));
      CHECK(f.Write(order[i]).value() == (i == 2));  // once more: the answer was lost
      CHECK(f.files.Exists(kTensors) == (i == 2));
    }
    for (const std::uint64_t number : order) CHECK(f.Write(number).value());  // long after
    CHECK(f.files.Read(kTensors).value() == f.contents);
    CHECK(f.Names().size() == 1);
    // The answer said that it survives the loss of power.
    f.files.Restart(CrashFiles::Loss::kPower);
    CHECK(f.files.Read(kTensors).value() == f.contents);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("What is no piece of a file that this shard may have is refused, and takes no room") {
  using Code = absl::StatusCode;
  Fixture f;
  const auto refused = [&](Code code, const char* says, const auto& change) {
    v1::WriteCheckpointRequest piece = f.Piece(1);
    change(&piece);
    CAPTURE(says);
    CHECK(Says(f.Write(piece).status(), code, {says}));
    CHECK(f.Names().empty());
  };
  using P = v1::WriteCheckpointRequest*;
  refused(Code::kFailedPrecondition, "cut 8 is not under way; that of cut 9 is", [](P p) { p->set_cut(8); });
  refused(Code::kFailedPrecondition, "cut 0 is not under way", [](P p) { p->set_cut(0); });
  refused(Code::kInvalidArgument, "shard 2 of 2", [](P p) { p->set_shard_index(2); });
  refused(Code::kInvalidArgument, "shard 4294967295 of 2", [](P p) { p->set_shard_index(UINT32_MAX); });
  refused(Code::kInvalidArgument, "a file of 0 bytes", [](P p) { p->set_bytes(0); });
  refused(Code::kInvalidArgument, "a file of 18446744073709551615 bytes", [](P p) { p->set_bytes(UINT64_MAX); });
  // 10 MiB of weights and as much for each of four slots: more than that no optimizer has.
  refused(Code::kInvalidArgument, "a file of 54525952 bytes", [](P p) { p->set_bytes(52 << 20); });
  refused(Code::kInvalidArgument, "no piece", [](P p) { p->set_offset(p->offset() + 1); });
  refused(Code::kInvalidArgument, "no piece", [](P p) { p->set_offset(kPieceBytes * 3); });
  refused(Code::kInvalidArgument, "no piece", [](P p) { p->set_offset(UINT64_MAX - kPieceBytes + 1); });
  refused(Code::kInvalidArgument, "no piece", [](P p) { p->set_bytes(p->bytes() - kPieceBytes); });
  refused(Code::kDataLoss, "should be 00000007", [](P p) { p->set_piece_crc32c(7); });
  refused(Code::kInvalidArgument, "shard 1's has 1 to 268435456", [](P p) {
    p->set_state(true);
    p->set_bytes(CheckpointReceiver::kMostStateBytes + 1);
  });
  // Nobody else's file.
  REQUIRE(f.Write(0).ok());
  v1::WriteCheckpointRequest other = f.Piece(1);
  other.set_crc32c(other.crc32c() + 1);
  CHECK(Says(f.Write(other).status(), Code::kInvalidArgument, {kTensors, "of a file of 8389608 bytes"}));
  REQUIRE(f.Write(1).ok());
  CHECK(f.Write(2).value());
}

TEST_CASE("A file whose pieces are each as they were sent, but not together, is none") {
  Fixture f;
  for (const std::uint64_t number : {0u, 1u, 2u}) {
    v1::WriteCheckpointRequest piece = f.Piece(number);
    piece.set_crc32c(77);
    const absl::StatusOr<bool> complete = f.Write(piece);
    CHECK(complete.ok() == (number < 2));
    if (number == 2) CHECK(Says(complete.status(), absl::StatusCode::kAborted, {"ps 0", "should have 0000004d"}));
  }
  CHECK(f.Names().empty());
}

TEST_CASE("A disk that is full ends it: the room is given back, and not taken again by what comes late") {
  Fixture f;
  f.files.SetCapacity(kPieceBytes);
  CHECK(Says(f.Write(0).status(), absl::StatusCode::kAborted, {"ps 0", "no space"}));
  CHECK(f.Names().empty());
  f.files.SetCapacity(UINT64_MAX);
  CHECK(absl::IsAborted(f.Write(1).status()));
  CHECK(absl::IsAborted(f.Write(0).status()));
  CHECK(f.Names().empty());
  // The next checkpoint is another one.
  REQUIRE(MakeDurableDirectories(f.files, "dir/step-00000008").ok());
  f.receiver.Follow(CutOf(11, "step-00000008"), f.placement);
  v1::WriteCheckpointRequest piece = f.Piece(0);
  piece.set_cut(11);
  CHECK(f.Write(piece).ok());
}

TEST_CASE("A piece that cannot be written ends it as well") {
  Fixture f;
  REQUIRE(f.Write(0).ok());
  f.files.FailAppends(absl::ResourceExhaustedError("no space left"));
  CHECK(Says(f.Write(1).status(), absl::StatusCode::kAborted, {"no space left"}));
  f.files.FailAppends(absl::OkStatus());
  CHECK(absl::IsAborted(f.Write(0).status()));
  CHECK(f.Names().empty());
}

TEST_CASE("When the cut is over what was brought is removed, unless it was committed") {
  for (const bool committed : {false, true}) {
    Fixture f;
    for (const std::uint64_t number : {0u, 1u, 2u}) REQUIRE(f.Write(number).ok());
    v1::WriteCheckpointRequest half = f.Piece(0);
    half.set_state(true);
    REQUIRE(f.Write(half).ok());
    CHECK(f.Names().size() == 2);
    if (committed) REQUIRE(WriteAtomically(f.files, std::string(kStep) + "/COMMITTED", "x").ok());
    f.receiver.Follow({}, {});
    CHECK(f.files.Exists(kTensors) == committed);
    CHECK(f.Names().size() == (committed ? 2 : 0));  // with the mark
    // A late piece of it.
    CHECK(Says(f.Write(0).status(), absl::StatusCode::kFailedPrecondition, {"cut 9 is not under way"}));
    CHECK(f.Names().size() == (committed ? 2 : 0));
  }
}

TEST_CASE("A cut that follows on the same step has nothing of the one before") {
  Fixture f;
  REQUIRE(f.Write(0).ok());
  f.receiver.Follow(CutOf(10), f.placement);
  CHECK(f.Names().empty());
  for (const std::uint64_t number : {2u, 1u, 0u}) {
    v1::WriteCheckpointRequest piece = f.Piece(number);
    CHECK(absl::IsFailedPrecondition(f.Write(piece).status()));
    piece.set_cut(10);
    CHECK(f.Write(piece).value() == (number == 0));
  }
  CHECK(f.files.Read(kTensors).value() == f.contents);
}

TEST_CASE("A committed checkpoint is never written over") {
  Fixture f;
  REQUIRE(WriteAtomically(f.files, kTensors, "what was committed").ok());
  REQUIRE(WriteAtomically(f.files, std::string(kStep) + "/COMMITTED", "x").ok());
  for (const std::uint64_t number : {0u, 1u, 2u}) {
    CHECK(Says(f.Write(number).status(), absl::StatusCode::kAborted, {"holds a committed checkpoint"}));
  }
  f.receiver.Follow({}, {});
  CHECK(f.files.Read(kTensors).value() == "what was committed");
  CHECK(f.Names().size() == 2);
}

TEST_CASE("When the ps ends it leaves no half file") {
  auto f = std::make_unique<Fixture>();
  CrashFiles files(2, f->files);
  REQUIRE(f->Write(0).ok());
  CHECK(files.List(kStep).value().size() == 1);
  f.reset();
  CHECK(files.List(kStep).value().empty());
}

}  // namespace
}  // namespace leeway
