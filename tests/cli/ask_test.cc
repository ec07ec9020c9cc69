// What `leeway set` and `leeway drain` ask, so that a call which the network brings again later does no harm.
#include "cli/admin/ask.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/codec.h"
#include "tests/catch.h"

namespace leeway {
namespace {

// Answers with `reply`, but the calls of `lost` (0 is the first) with UNAVAILABLE; keeps what came.
template <typename Request, typename Reply>
class Coordinator final : public Transport {
 public:
  void Call(const std::string&, const std::string&, Buffer request, absl::Duration, ReplyCallback done) override {
    const std::size_t number = requests.size();
    REQUIRE(DecodeMessage(request, &requests.emplace_back()).ok());
    if (number == lost) return done(absl::UnavailableError("lost"), {});
    done(absl::OkStatus(), EncodeMessage(reply(requests.back())));
  }

  std::function<Reply(const Request&)> reply;
  std::size_t lost = 1000;
  std::vector<Request> requests;
};

Ask Of(Transport* coordinator) {
  Ask ask;
  ask.transport = coordinator;
  return ask;
}

TEST_CASE("leeway set first asks which policy there is, and changes that one only") {
  Coordinator<v1::SetPolicyRequest, v1::SetPolicyReply> coordinator;
  coordinator.lost = 1;
  coordinator.reply = [&](const v1::SetPolicyRequest& request) {
    v1::SetPolicyReply reply;
    reply.mutable_policy()->set_number(coordinator.requests.size() < 3 ? 7 : 8);
    if (request.settings().empty()) reply.mutable_not_yet()->set_reason("of an earlier change");
    return reply;
  };
  v1::SetPolicyRequest request;
  request.add_settings()->set_name("staleness_bound");
  const auto reply = AskSetPolicy(Of(&coordinator), request);
  REQUIRE(reply.ok());
  CHECK(reply->policy().number() == 8);
  REQUIRE(coordinator.requests.size() == 3);
  CHECK(coordinator.requests[0].settings().empty());
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {  // the first of them was lost
    CHECK(coordinator.requests[i].settings_size() == 1);
    CHECK(coordinator.requests[i].based_on() == 7);
  }
}

TEST_CASE("leeway drain first looks who is there, and drains that one only") {
  Coordinator<v1::DrainRequest, v1::DrainReply> coordinator;
  coordinator.lost = 0;
  coordinator.reply = [](const v1::DrainRequest& request) {
    v1::DrainReply reply;
    reply.set_incarnation(request.only_look() ? 42 : request.incarnation());
    if (request.only_look()) reply.mutable_not_yet()->set_reason("it is there");
    return reply;
  };
  v1::DrainRequest request;
  request.set_target("w1");
  const auto reply = AskDrain(Of(&coordinator), request);
  REQUIRE(reply.ok());
  CHECK(reply->incarnation() == 42);
  REQUIRE(coordinator.requests.size() == 3);
  CHECK(coordinator.requests[0].only_look());
  CHECK(coordinator.requests[1].only_look());
  CHECK_FALSE(coordinator.requests[2].only_look());
  CHECK(coordinator.requests[2].incarnation() == 42);
}

}  // namespace
}  // namespace leeway
