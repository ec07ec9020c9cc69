#include "server/blocking_call.h"

#include <thread>
#include <vector>

#include "proto/coordinator.pb.h"
#include "tests/catch.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

// Keeps calls; answers them when it is told to.
class Silent final : public Transport {
 public:
  void Call(const std::string&, const std::string&, Buffer, absl::Duration, ReplyCallback done) override {
    calls.push_back(std::move(done));
  }
  std::vector<ReplyCallback> calls;
};

absl::StatusOr<v1::CheckpointReply> Ask(Silent& silent, const std::function<bool()>& go_on) {
  return CallAndWait<v1::CheckpointReply>(silent, "ps-0", "Coordinator/Checkpoint", v1::CheckpointRequest(),
                                          absl::Seconds(1), go_on);
}

TEST_CASE("A call that is waited for gives its answer, from another thread too") {
  Silent silent;
  std::thread other;
  int asked = 0;
  const auto answered_meanwhile = [&](const absl::Status& status) {
    asked = 0;
    const auto reply = Ask(silent, [&] {
      if (++asked < 3) return true;
      if (asked == 3) {
        other = std::thread([done = silent.calls.back(), status] {
          v1::CheckpointReply answer;
          answer.set_number(7);
          done(status, EncodeMessage(answer));
        });
      }
      return true;
    });
    other.join();
    return reply;
  };
  const auto reply = answered_meanwhile(absl::OkStatus());
  REQUIRE(reply.ok());
  CHECK(reply->number() == 7);
  const absl::Status refused = answered_meanwhile(absl::AbortedError("the disk is full")).status();
  CHECK(Says(refused, absl::StatusCode::kAborted, {"the disk is full"}));
}

TEST_CASE("A call that is not waited for any more may be answered later") {
  Silent silent;
  int asked = 0;
  CHECK(absl::IsCancelled(Ask(silent, [&] { return ++asked < 3; }).status()));
  REQUIRE(silent.calls.size() == 1);
  silent.calls[0](absl::OkStatus(), EncodeMessage(v1::CheckpointReply()));
}

TEST_CASE("A pause ends by itself, or when nobody goes on") {
  CHECK(Pause(absl::Milliseconds(1), nullptr));
  int asked = 0;
  CHECK_FALSE(Pause(absl::InfiniteDuration(), [&] { return ++asked < 3; }));
}

}  // namespace
}  // namespace leeway
